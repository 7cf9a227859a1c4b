//! The history: SQLite with WAL, one writer thread, short-lived read connections. Owns the schema and
//! every statement; knows nothing of files, executors or decisions.

pub mod applies;
pub mod baselines;
pub mod benchmarks;
pub mod commands;
pub mod conditions;
pub mod events;
pub mod facts;
pub mod figures_by_service;
pub mod foreign_database;
mod foreign_rows;
pub mod imports;
pub mod judgements;
pub mod load_results;
pub mod model_files;
pub mod model_history;
pub mod overview;
pub mod reports;
pub mod request_list;
pub mod requests;
pub mod run_list;
pub mod runs;
pub mod runs_by_service;
pub mod submissions;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// The schema version that this binary reads and writes (`user_version`).
const SCHEMA_VERSION: i64 = 8;
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_load_tests.sql"),
    include_str!("migrations/0003_model_files.sql"),
    include_str!("migrations/0004_planning.sql"),
    include_str!("migrations/0005_judging.sql"),
    include_str!("migrations/0006_condition_words.sql"),
    include_str!("migrations/0007_reports.sql"),
    include_str!("migrations/0008_submissions.sql"),
];
/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database {path} cannot be opened: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the database {path} has schema version {found}, and this benchlet reads {SCHEMA_VERSION}; {hint}"
    )]
    Version { path: PathBuf, found: i64, hint: &'static str },
    #[error("the database refused: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("a stored {what} cannot be read: {source}")]
    Decode { what: &'static str, source: serde_json::Error },
    #[error("the database could not keep the change: {0}")]
    NotCommitted(String),
    #[error("the database's writer has stopped")]
    Closed,
    #[error("{0}")]
    Refused(String),
}

/// A write: does its work inside the batch's transaction, if one could begin, and leaves how to tell its
/// caller once it is known whether the batch was committed.
type Job = Box<dyn FnOnce(Begun<'_>) -> Told + Send>;
type Begun<'a> = Result<&'a Connection, &'a rusqlite::Error>;
type Told = Box<dyn FnOnce(Result<(), &rusqlite::Error>)>;
/// Most writes that share one commit, and so one fsync.
const BATCH: usize = 64;

/// Who opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Holds the state's lock: may create and migrate.
    Owner,
    /// Beside an owner, or to look: reads, and leaves commands.
    Guest,
}

#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    writer: mpsc::Sender<Job>,
    readers: Arc<Mutex<Vec<Connection>>>,
}

impl Store {
    /// Opens `benchlet.db` in the state directory.
    ///
    /// # Errors
    /// A database that cannot be opened, or of another version for a guest.
    pub fn open(state: &Path, access: Access) -> Result<Self, StoreError> {
        let path = state.join("benchlet.db");
        let fail = |source| StoreError::Open { path: path.clone(), source };
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if access == Access::Owner {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
            create_private(&path)
                .map_err(|error| fail(rusqlite::Error::ToSqlConversionFailure(Box::new(error))))?;
        }
        let mut connection = Connection::open_with_flags(&path, flags).map_err(fail)?;
        configure(&connection).map_err(fail)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > SCHEMA_VERSION {
            let hint = "use the newer benchlet that wrote it";
            return Err(StoreError::Version { path, found, hint });
        }
        if found < SCHEMA_VERSION {
            if access == Access::Guest {
                let hint = "start `benchlet serve` once to bring it up to date";
                return Err(StoreError::Version { path, found, hint });
            }
            migrate(&mut connection, found)?;
        }
        let (writer, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                while let Ok(first) = jobs.recv() {
                    let batch = std::iter::once(first).chain(jobs.try_iter().take(BATCH - 1));
                    commit_together(&mut connection, batch.collect());
                }
            })
            .map_err(|_| StoreError::Closed)?;
        Ok(Self { path, writer, readers: Arc::default() })
    }

    /// Runs `work` in an IMMEDIATE transaction on the writer thread, which writes that wait at the same time
    /// share with their fsync, and returns after its commit.
    ///
    /// # Errors
    /// What `work` says, or SQLite; nothing was written then.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, result) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move |begun| {
            let outcome = match begun {
                Ok(connection) => in_savepoint(connection, work),
                Err(error) => Err(StoreError::NotCommitted(error.to_string())),
            };
            Box::new(move |committed| {
                let outcome = match committed {
                    Ok(()) => outcome,
                    Err(error) => Err(StoreError::NotCommitted(error.to_string())),
                };
                // The caller may have gone; the write stands.
                drop(answer.send(outcome));
            })
        });
        self.writer.send(job).map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` on a read connection, in one consistent view.
    ///
    /// # Errors
    /// What `work` says, or SQLite.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let pooled = self.readers.lock().ok().and_then(|mut readers| readers.pop());
        let connection = match pooled {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        connection.execute_batch("BEGIN")?;
        let result = work(&connection);
        connection.execute_batch("COMMIT")?;
        if let Ok(mut readers) = self.readers.lock() {
            readers.push(connection);
        }
        result
    }

    fn open_reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)
            .map_err(|source| StoreError::Open { path: self.path.clone(), source })?;
        configure(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    /// Changes whenever another connection has committed: how another process's commands are noticed.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn watcher(&self) -> Result<CommitWatcher, StoreError> {
        Ok(CommitWatcher { connection: self.open_reader()?, last: None })
    }

    /// This installation's id, made once; labels containers as ours.
    ///
    /// # Errors
    /// SQLite's own.
    pub async fn instance(&self, fresh: uuid::Uuid) -> Result<String, StoreError> {
        self.write(move |connection| {
            connection.execute(
                "INSERT OR IGNORE INTO meta (key, value) VALUES ('instance', ?1)",
                [fresh.to_string()],
            )?;
            Ok(connection.query_row("SELECT value FROM meta WHERE key = 'instance'", [], |row| row.get(0))?)
        })
        .await
    }
}

/// Notices commits of other connections through `PRAGMA data_version`, which costs microseconds.
pub struct CommitWatcher {
    connection: Connection,
    last: Option<i64>,
}

impl CommitWatcher {
    /// Whether anything was committed since the last call; true at the first.
    pub fn changed(&mut self) -> bool {
        let now: Option<i64> = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)).ok();
        let changed = now != self.last;
        self.last = now;
        changed
    }
}

/// Runs a batch in one transaction. Each write has a savepoint of its own, so that one that fails takes
/// no other with it; nobody is told before the commit.
fn commit_together(connection: &mut Connection, batch: Vec<Job>) {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            batch.into_iter().for_each(|job| job(Err(&error))(Err(&error)));
            return;
        }
    };
    let told: Vec<Told> = batch.into_iter().map(|job| job(Ok(&transaction))).collect();
    let committed = transaction.commit();
    for tell in told {
        tell(committed.as_ref().copied());
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT work")?;
    let outcome = work(connection);
    let end = if outcome.is_ok() { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" };
    connection.execute_batch(end)?;
    outcome
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(connection: &mut Connection, from: i64) -> Result<(), StoreError> {
    for (step, sql) in (1..).zip(MIGRATIONS).skip(usize::try_from(from).unwrap_or(0)) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", step as i64)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The database may hold prompts and commands: for its owner only.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// JSON of a column.
fn encode(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Decode { what: "value", source })
}

fn decode<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Decode { what, source })
}

/// A UUID column; SQLite has it as text.
fn uuid_of(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<uuid::Uuid> {
    let text: String = row.get(column)?;
    uuid::Uuid::parse_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Every row of a query, decoded.
fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    decode: impl Fn(&rusqlite::Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(decode(row)?);
    }
    Ok(list)
}

/// The first row of a query, decoded.
fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    decode: impl Fn(&rusqlite::Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(decode).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(store: &Store) -> i64 {
        store
            .read(|connection| Ok(connection.query_row("SELECT count(*) FROM meta", [], |row| row.get(0))?))
            .unwrap()
    }

    #[tokio::test]
    async fn a_write_that_fails_takes_no_other_of_its_batch_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Owner).unwrap();
        let writes = (0..20).map(|number| {
            store.write(move |connection| {
                connection.execute("INSERT INTO meta VALUES (?1, 'x')", [number.to_string()])?;
                if number % 2 == 0 { Ok(()) } else { Err(StoreError::Refused("odd".to_owned())) }
            })
        });
        let outcomes = futures_util::future::join_all(writes).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
        assert_eq!(count(&store), 10);
    }

    #[tokio::test]
    async fn another_connections_commit_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Owner).unwrap();
        let mut watcher = store.watcher().unwrap();
        watcher.changed();
        assert!(!watcher.changed());
        store.order("a", crate::decide::observed::Verb::Cancel, String::new()).await.unwrap();
        assert!(watcher.changed());
        assert!(!watcher.changed());
    }

    #[test]
    fn a_guest_neither_makes_a_database_nor_changes_its_version() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Store::open(dir.path(), Access::Guest), Err(StoreError::Open { .. })));
        drop(Store::open(dir.path(), Access::Owner).unwrap());
        let raw = Connection::open(dir.path().join("benchlet.db")).unwrap();
        raw.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        assert!(matches!(Store::open(dir.path(), Access::Owner), Err(StoreError::Version { .. })));
    }

    #[test]
    fn the_database_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), Access::Owner).unwrap());
        let mode = std::fs::metadata(dir.path().join("benchlet.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
