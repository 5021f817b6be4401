//! `RUNNER describe` and `RUNNER serve`.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::message::Described;
use crate::model::Framework;
use crate::serve::serve;
use crate::stdout;

/// Exit status of a wrong command line.
const USAGE: u8 = 2;

/// The whole program of a runner: takes the verb from the command line, and exits as the contract says.
pub fn main(framework: &dyn Framework) -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let done = match arguments.iter().map(|argument| argument.to_str()).collect::<Vec<_>>()[..] {
        [Some("describe")] => describe(framework),
        [Some("serve")] => stdout::take().and_then(|output| serve(framework, io::stdin().lock(), output)),
        _ => {
            log(
                "error: expected one of the verbs `describe` and `serve`\nhint: `describe` prints what this runner is, \
                 `serve` answers requests on standard input (see docs/contract.md)",
            );
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The driver is gone: nobody is left to answer.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            log(&format!("error: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn describe(framework: &dyn Framework) -> io::Result<()> {
    let description = framework.description();
    let mut line = serde_json::to_vec(&Described::new(&description))?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}

/// Writes to the log, as far as somebody still reads it.
fn log(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
