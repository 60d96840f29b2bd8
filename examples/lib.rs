//! Programs that use mneme; see the example targets of this package.
