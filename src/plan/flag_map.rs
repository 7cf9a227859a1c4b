use super::service::ServerFlag;
pub struct Dropped {
    pub flag: String,
    pub reason: String,
}
pub fn same_flag(a: &str, b: &str) -> bool {
    a == b
}
pub fn from_server(_flags: &[ServerFlag]) -> (Vec<(String, String)>, Vec<Dropped>) {
    (vec![], vec![])
}
