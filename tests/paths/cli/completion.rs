//! `lanner completion` and `lanner man`: well-formed, and whole.

use std::process::Command;

use super::shop::Shop;

#[test]
fn shells_can_read_their_completion() {
    let shop = Shop::without_import(111);
    for (shell, checked_by) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish"), ("powershell", ""), ("elvish", "")]
    {
        let script = shop.program.run(&format!("completion {shell}")).exits(0).out;
        for word in ["merge-newest", "set-plan", "explain"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        let file = shop.beside(shell);
        std::fs::write(&file, &script).expect("a file");
        if checked_by.is_empty() {
            continue;
        }
        // A shell that is not installed cannot check.
        let Ok(checked) = Command::new(checked_by).arg("-n").arg(&file).output() else { continue };
        assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    shop.program.run("completion tcsh").exits(2);
}

#[test]
fn every_command_has_a_manual_page() {
    let shop = Shop::without_import(112);
    let page = shop.program.run("man").exits(0).out;
    assert!(page.contains(".TH lanner 1") && page.contains("Exit codes"), "{page}");
    let dir = shop.beside("pages");
    shop.program.run_with(["man", "--dir", dir.to_str().expect("a path")]).exits(0);
    for name in ["lanner", "lanner-run", "lanner-settings", "lanner-organizations-set-plan", "lanner-merge-newest"] {
        let page = dir.join(format!("{name}.1"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(".SH SYNOPSIS"), "{name}");
        // Where there is no man, nobody complains.
        let Ok(shown) = Command::new("man").arg("-l").arg(&page).env("MANWIDTH", "80").output() else { continue };
        assert!(shown.status.success(), "{name}: {}", String::from_utf8_lossy(&shown.stderr));
    }
    let file = shop.beside("a-file");
    std::fs::write(&file, "").expect("a file");
    let ended = shop.program.run_with(["man", "--dir", file.to_str().expect("a path")]);
    assert!(ended.code != Some(0) && ended.err.contains("a-file"), "{}", ended.err);
}
