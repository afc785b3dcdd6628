//! The `guildhall` command.

fn main() -> std::process::ExitCode {
    guildhall::cli::run()
}
