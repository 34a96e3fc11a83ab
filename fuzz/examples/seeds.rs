//! Writes the seeds that are made of the tables of cases: `cargo run --example seeds DIRECTORY`. Requests
//! go to `requests` there, and snapshots to `snapshots`.

use std::{fs, io, path::Path};

use quiesce_fuzz::seeds;

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("name the directory to write to"));
    };
    for (kind, inputs) in [("requests", seeds::requests()), ("snapshots", seeds::snapshots())] {
        let directory = Path::new(&directory).join(kind);
        fs::create_dir_all(&directory)?;
        for (at, input) in inputs.iter().enumerate() {
            fs::write(directory.join(format!("{at:03}")), input)?;
        }
    }
    Ok(())
}
