//! Brings a folder of tables into a store.
