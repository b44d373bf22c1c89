//! `lanner jobs` and `lanner settings`: the program's own tables.

use std::path::Path;

use clap::Args;
use jobs::{JOBS, Shape};

use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, say, table};
use crate::settings::{DEFAULTS, Settings};

/// Prints the table of all jobs.
pub(crate) fn jobs(as_json: bool) -> Outcome {
    if as_json {
        output::json(&JOBS)?;
        return Ok(exit::DONE);
    }
    let columns = [Column::Text("job"), Column::Text("runs"), Column::Text("reads"), Column::Text("writes")];
    let rows = JOBS.iter().map(|job| {
        let shape = if job.shape == Shape::RunsOnce { "once" } else { "on" };
        vec![job.name.to_owned(), shape.to_owned(), job.reads.join(", "), job.writes.join(", ")]
    });
    say!("{}\n", table(&columns, rows));
    let abouts = JOBS.iter().map(|job| vec![job.name.to_owned(), job.about.to_owned()]);
    say!("{}", table(&[Column::Text("job"), Column::Text("what it does")], abouts));
    Ok(exit::DONE)
}

/// Show the settings in force, or every key with what it means
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    /// Print the documented defaults, as a file to start from
    #[arg(long)]
    defaults: bool,
}

pub(crate) fn settings(as_json: bool, file: Option<&Path>, args: &SettingsArgs) -> Outcome {
    if args.defaults {
        say!("{}", DEFAULTS.trim_end());
        return Ok(exit::DONE);
    }
    let wrong = |error| Failure::new(exit::CONFIGURATION, error);
    Settings::load(file).map_err(wrong)?;
    let effective = Settings::effective(file).map_err(wrong)?;
    if as_json {
        output::json(&effective)?;
    } else {
        say!("{}", toml::to_string(&effective).map_err(anyhow::Error::from)?.trim_end());
        say!("\n# lanner settings --defaults tells what each key means");
    }
    Ok(exit::DONE)
}
