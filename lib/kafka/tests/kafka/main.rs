//! `KafkaLog` on a real broker: `tests/servers cargo test -p kafka`. Without one nothing runs, which is said. `LANNER_SEED` is the seed
//! of what is random.

mod groups;
mod killed;
mod opening;
mod positions;
mod records;
mod stage;
