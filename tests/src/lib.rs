//! End-to-end tests of a running Kyros
