//! `portunus`: see [`portunus_app`].

fn main() -> std::process::ExitCode {
    portunus_app::main()
}
