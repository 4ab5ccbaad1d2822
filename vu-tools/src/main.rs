//! `umvu` and, under other names, every `vu_*` tool.
#![forbid(unsafe_code)]

fn main() {
    std::process::exit(vu_tools::main(std::env::args_os()));
}
