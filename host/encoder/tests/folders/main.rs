//! Models of folders: small ones that are made here, whole and spoilt.

mod dense;
mod folder;
mod refused;
mod spoilt;
mod vectors;
