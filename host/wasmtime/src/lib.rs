mod contract;
pub mod store;
