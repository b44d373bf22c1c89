//! What documents tell people to type.

use std::path::Path;

use support::Program;

/// Commands of `lanner` in the code blocks of a document: the words before the first option or argument.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let line = |line: &str| {
        let typed = line.strip_prefix("    ")?;
        let typed = typed.strip_prefix("lanner ").or_else(|| typed.strip_prefix("by_hand "))?;
        Some(typed.split(" #").next()?.trim().to_owned())
    };
    let split = |line: String| (line.clone(), line.split_whitespace().map(str::to_owned).collect());
    text.lines().filter_map(line).map(split).collect()
}

#[test]
fn commands_and_options_in_the_guide_for_operators_exist() {
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), Path::new("/nowhere"));
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operate.md")).expect("the guide");
    let commands = commands(&text);
    assert!(commands.len() > 10, "only {} commands are found: is the check blind?", commands.len());
    for (line, words) in commands {
        let is_name = |word: &&String| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
        let mut path: Vec<&String> = words.iter().take_while(|word| !word.starts_with('-')).filter(is_name).collect();
        // What stands last may be an argument, of a command that has no commands of its own.
        let said = path.len();
        let help = loop {
            let help = program.run_with(path.iter().map(|word| word.as_str()).chain(["--help"]));
            if help.code == Some(0) || path.pop().is_none() {
                break help;
            }
        };
        let is_argument = path.len() < said;
        let is_misspelt = path.is_empty() || (is_argument && help.out.contains("\nCommands:"));
        assert!(!is_misspelt, "there is no such command: {line}");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.out.contains(option.as_str()), "{option} is no option of: {line}");
        }
    }
}
