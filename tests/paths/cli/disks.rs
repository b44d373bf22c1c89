//! Disks that are full or read-only. They need the right to mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use support::waiting::not_run;
use support::{Program, SmallChat};

use super::shop::{RUN, Shop};

/// A mounted file system, unmounted when the test is over.
struct Mounted(PathBuf);

fn mount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(at).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn an_import_onto_a_full_disk_says_so_and_succeeds_with_more_room() {
    let shop = Shop::without_import(81);
    let disk = shop.beside("disk");
    std::fs::create_dir(&disk).expect("a folder");
    if let Err(reason) = mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &disk) {
        return not_run("an_import_onto_a_full_disk_says_so_and_succeeds_with_more_room", &reason);
    }
    let _mounted = Mounted(disk.clone());
    let chat = SmallChat::random(82, 1_500);
    let tables = shop.beside("many");
    chat.write_csv(&tables);
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &disk.join("data"));
    let import = ["import", tables.to_str().expect("a path")];
    let refused = program.run_with(import).exits(75);
    assert!(refused.err.contains("full"), "it does not name the full disk: {}", refused.err);
    mount(&["-o", "remount,size=200m"], &disk).expect("more room");
    program.run_with(import).exits(0);
    program.run(RUN).exits(0);
    let answers = support::oracle::answers(&chat, SmallChat::as_of(), &support::place::policy());
    assert_eq!(program.run("limits export").exits(0).out, support::oracle::export(&answers));
}

#[test]
fn a_disk_that_fills_up_during_a_run_loses_nothing() {
    let shop = Shop::without_import(83);
    let disk = shop.beside("disk");
    std::fs::create_dir(&disk).expect("a folder");
    if let Err(reason) = mount(&["-t", "tmpfs", "-o", "size=200m", "tmpfs"], &disk) {
        return not_run("a_disk_that_fills_up_during_a_run_loses_nothing", &reason);
    }
    let _mounted = Mounted(disk.clone());
    let chat = SmallChat::random(84, 1_000);
    let tables = shop.beside("many");
    chat.write_csv(&tables);
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &disk.join("data"))
        .with("LANNER_WORKERS_VISIBLE_FOR_MS", 500)
        .with("LANNER_WORKERS_BACKOFF_MAX_MS", 500);
    program.run_with(["import", tables.to_str().expect("a path")]).exits(0);
    // All but a little room is taken by something else.
    let ballast = disk.join("ballast");
    let room = Command::new("df").args(["--output=avail", "-B1"]).arg(&disk).output().expect("df runs").stdout;
    let room: u64 = String::from_utf8_lossy(&room).lines().last().and_then(|n| n.trim().parse().ok()).expect("bytes");
    std::fs::write(&ballast, vec![0_u8; (room - 150_000) as usize]).expect("ballast");
    let full = program.run(RUN);
    assert!(matches!(full.code, Some(3 | 75)), "exit code {:?}: {}", full.code, full.err);
    assert!(full.err.contains("full"), "it does not name the full disk: {}", full.err);
    std::fs::remove_file(&ballast).expect("removed");
    program.run(&format!("{RUN} --wait")).exits(0);
    let answers = support::oracle::answers(&chat, SmallChat::as_of(), &support::place::policy());
    assert_eq!(program.run("limits export").exits(0).out, support::oracle::export(&answers));
}

#[test]
fn a_read_only_data_directory_is_a_matter_of_configuration() {
    let shop = Shop::with_run(85);
    let data = shop.data_dir();
    let path = data.to_str().expect("a path");
    if let Err(reason) = mount(&["--bind", path], &data) {
        return not_run("a_read_only_data_directory_is_a_matter_of_configuration", &reason);
    }
    let _mounted = Mounted(data.clone());
    if let Err(reason) = mount(&["-o", "remount,ro,bind"], &data) {
        return not_run("a_read_only_data_directory_is_a_matter_of_configuration", &reason);
    }
    let tables = shop.tables();
    shop.program.run(RUN).exits(42).says(&["read-only"]);
    // Readers note themselves in the directory, too.
    shop.program.run("status").exits(42).says(&["read-only"]);
    shop.program.run("collect-rooms").exits(42).says(&["read-only"]);
    shop.program.run_with(["import", tables.to_str().expect("a path")]).exits(42).says(&["read-only"]);
    let fresh = Program::new(env!("CARGO_BIN_EXE_lanner"), &data.join("fresh"));
    fresh.run("demo").exits(42).says(&["Read-only", "fresh"]);
}
