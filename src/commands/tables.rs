//! `lanner jobs`: the program's own tables.

use jobs::{JOBS, Shape};

use crate::exit::{self, Outcome};
use crate::output::{self, Column, say, table};

/// Prints the table of all jobs.
pub(crate) fn jobs(as_json: bool) -> Outcome {
    if as_json {
        output::json(&JOBS)?;
        return Ok(exit::DONE);
    }
    let columns = [Column::Name("job"), Column::Text("runs"), Column::Text("reads"), Column::Text("writes")];
    let rows = JOBS.iter().map(|job| {
        let shape = if job.shape == Shape::RunsOnce { "once" } else { "on" };
        vec![job.name.to_owned(), shape.to_owned(), job.reads.join(", "), job.writes.join(", ")]
    });
    say!("{}\n", table(&columns, rows));
    let abouts = JOBS.iter().map(|job| vec![job.name.to_owned(), job.about.to_owned()]);
    say!("{}", table(&[Column::Name("job"), Column::Text("what it does")], abouts));
    Ok(exit::DONE)
}
