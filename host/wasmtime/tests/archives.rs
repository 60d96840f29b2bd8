//! Checkpoints as a Rust program makes them: readers and writers of any kind, limits, and
//! archives of another kind of store.

mod archives {
    #[cfg(feature = "sqlite")]
    pub mod converted;
    pub mod ends;
    pub mod limits;
    pub mod support;
}
