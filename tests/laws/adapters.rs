//! All adapters that stand under the laws.
