//! Program that runs in the pods.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
};

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let argument = |at: usize| arguments.get(at).cloned().unwrap_or_default();
    match argument(0).as_str() {
        // Answers each connection with a text, until it is ended.
        "serve" => {
            let listener = TcpListener::bind(("0.0.0.0", argument(1).parse().unwrap())).unwrap();
            println!("serving");
            for stream in listener.incoming() {
                let _ = stream.unwrap().write_all(argument(2).as_bytes());
            }
            ExitCode::SUCCESS
        }
        "connect" => {
            let mut text = String::new();
            TcpStream::connect(argument(1)).unwrap().read_to_string(&mut text).unwrap();
            print!("{text}");
            ExitCode::SUCCESS
        }
        // Connects, and prints the hardware address that the pod has for the gateway.
        "gateway" => {
            drop(TcpStream::connect(argument(1)).unwrap());
            let neighbours = std::fs::read_to_string("/proc/net/arp").unwrap();
            let gateway = neighbours.lines().find(|line| line.starts_with(&argument(2))).unwrap_or_default();
            println!("{}", gateway.split_whitespace().nth(3).unwrap_or("unknown"));
            ExitCode::SUCCESS
        }
        "exit" => ExitCode::from(argument(1).parse::<u8>().unwrap()),
        "print" => {
            println!("{}", argument(1));
            eprintln!("{}", argument(2));
            ExitCode::SUCCESS
        }
        "echo" => {
            std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
            ExitCode::from(7)
        }
        "term" => {
            use std::io::IsTerminal;
            println!("terminal {}", std::io::stdin().is_terminal());
            ExitCode::SUCCESS
        }
        // Prints what a program sees of its surroundings.
        "look" => {
            let file = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| error.kind().to_string());
            let status = file("/proc/self/status");
            let field = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
                line.split_once(':')
                    .map_or("", |(_, value)| value)
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            println!("pid={}", std::process::id());
            println!("uid={} gid={}", field("Uid"), field("Gid"));
            println!("caps={} bound={} nnp={}", field("CapEff"), field("CapBnd"), field("NoNewPrivs"));
            println!("hostname={}", file("/proc/sys/kernel/hostname").trim());
            println!("cwd={}", std::env::current_dir().unwrap().display());
            let mut variables: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
            variables.sort();
            println!("env={}", variables.join(","));
            println!("mounted={}", file("/mounted/file").trim());
            println!("mounted-write={}", outcome(std::fs::write("/mounted/file", "x")));
            println!("root-write={}", outcome(std::fs::write("/written", "x")));
            println!("core-pattern-write={}", outcome(std::fs::write("/proc/sys/kernel/core_pattern", "x")));
            println!("hidden={}", ["", "entity not found"].contains(&file("/proc/kcore").as_str()));
            println!("null={}", outcome(std::fs::write("/dev/null", "x")));
            println!("shm={}", outcome(std::fs::write("/dev/shm/x", "x")));
            let mut roots: Vec<String> = std::fs::read_dir("/")
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            roots.sort();
            println!("root={}", roots.join(","));
            let processes = std::fs::read_dir("/proc").unwrap();
            let processes =
                processes.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().parse::<u32>().is_ok());
            println!("processes={}", processes.count());
            ExitCode::SUCCESS
        }
        other => panic!("unknown command {other:?}"),
    }
}

fn outcome(result: std::io::Result<()>) -> String {
    result.map_or_else(|error| error.kind().to_string(), |()| "ok".to_owned())
}
