//! temporary
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Start(#[from] crate::controller::StartError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
