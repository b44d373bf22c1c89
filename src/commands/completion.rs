//! `lanner completion` and `lanner man`: what shells and `man` read.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::exit::{self, Failure, Outcome};
use crate::output::say;

/// Print the completion script of a shell
///
///   bash: lanner completion bash > /etc/bash_completion.d/lanner
///   zsh:  lanner completion zsh > /usr/local/share/zsh/site-functions/_lanner
///   fish: lanner completion fish > ~/.config/fish/completions/lanner.fish
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Print the manual page, or write the pages of all commands
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write lanner.1 and a page for each command into this folder, which is made if need be
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn completion(mut command: Command, args: &CompletionArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "lanner", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(exit::DONE)
}

pub(crate) fn man(command: Command, as_json: bool, args: &ManArgs) -> Outcome {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        std::io::stdout().lock().write_all(&page)?;
        return Ok(exit::DONE);
    };
    let about = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::from(error).about(&path)
    };
    std::fs::create_dir_all(dir).map_err(about(dir))?;
    clap_mangen::generate_to(command, dir).map_err(about(dir))?;
    if !as_json {
        say!("the pages are in {}: man -l {}", dir.display(), dir.join("lanner.1").display());
    }
    Ok(exit::DONE)
}
