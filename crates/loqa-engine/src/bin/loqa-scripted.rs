//! The scripted engine as a program: see [`loqa_engine::scripted`].

fn main() -> std::process::ExitCode {
    loqa_engine::scripted::main()
}
