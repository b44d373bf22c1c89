//! The limit path on the services that production uses: DynamoDB, SQS, and a SQL database, once MySQL or MariaDB, once PostgreSQL.
//!
//! `tests/servers cargo test --test services`. Without the servers nothing runs, which is said. `LANNER_SEED` is the seed of
//! everything random, `LANNER_SCHEDULES` (default 10) how often processes are killed and stopped.

mod cost;
mod disturbed;
mod lean;
mod message_path;
mod poison;
mod stage;
mod whole;
