//! A worker's own way to the server: one connection, kept from request to request and opened again where
//! the server ends it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::connection::{ConnectError, Connection, Connector};

/// Bytes that one read may give. Shared by the lanes of a thread, which read one after the other.
pub const READ: usize = 64 << 10;
pub struct Lane {
    connector: Rc<Connector>,
    pub connection: Option<Connection>,
    /// The request's bytes.
    pub out: Vec<u8>,
    pub buffer: Rc<RefCell<Vec<u8>>>,
}

impl Lane {
    pub fn new(connector: Rc<Connector>, buffer: Rc<RefCell<Vec<u8>>>) -> Self {
        Self { connector, connection: None, out: Vec::new(), buffer }
    }

    /// Sees to it that there is a connection; true where it had to be opened.
    ///
    /// # Errors
    /// It could not be opened.
    pub async fn connect(&mut self, limit: Duration) -> Result<bool, ConnectError> {
        if self.connection.as_ref().is_some_and(Connection::is_stale) {
            self.connection = None;
        }
        if self.connection.is_some() {
            return Ok(false);
        }
        self.connection = Some(self.connector.open(limit).await?);
        Ok(true)
    }

    /// What another lane of the same thread needs.
    pub fn parts(&self) -> (Rc<Connector>, Rc<RefCell<Vec<u8>>>) {
        (Rc::clone(&self.connector), Rc::clone(&self.buffer))
    }
}
