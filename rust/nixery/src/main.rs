//! The `nixery` program: arguments, configuration, logging; then the server.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nixery::config::{Config, DEFAULT_MAX_LAYERS, Environment};
use nixery::error_chain::ErrorChain;
use nixery::layers::{GraphFile, group, report};
use nixery::{popularity, process, serve, telemetry};

/// An ad-hoc container registry: the names of Nix packages in, container images
/// out. It is set up by a TOML file and by environment variables; all it needs
/// is a package source, such as NIXERY_CHANNEL=nixos-unstable.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, print what is in effect, and end
    #[arg(long)]
    check_config: bool,
    /// Remove from the storage what is not needed any more, and end
    #[arg(long, conflicts_with_all = ["check_config", "layers"])]
    gc: bool,
    /// With --gc: only print what it would remove
    #[arg(long, requires = "gc")]
    dry_run: bool,
    /// Print how the store paths of a closure graph are grouped into layers, and end
    #[arg(long, value_name = "GRAPH.json")]
    layers: Option<PathBuf>,
}

fn main() -> ExitCode {
    // The server runs the builder by way of its own program.
    if let Some(code) = process::run_if_asked(std::env::args_os()) {
        return code;
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is nothing left to do then.
            let _ = writeln!(io::stderr(), "nixery: {}", ErrorChain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // Before anything can want to speak TLS. Fails only where there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(graph) = &arguments.layers {
        let report = runtime.block_on(layers(graph))?;
        return Ok(io::stdout().write_all(report.as_bytes())?);
    }
    let config = Config::load(arguments.config.as_deref(), &Environment::of_process())?;
    if arguments.check_config {
        return Ok(io::stdout().write_all(config.to_toml().as_bytes())?);
    }
    telemetry::start(&config.log)?;
    if arguments.gc {
        let report = runtime.block_on(serve::collect(&config, arguments.dry_run))?;
        return Ok(io::stdout().write_all(report.to_string().as_bytes())?);
    }
    let result = runtime.block_on(serve::serve(config));
    // What is left removes its temporary files; it has no names for others yet.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(result?)
}

/// The grouping of the closure in a file, with the popularity table that
/// `NIX_POPULARITY_URL` names. No other setting matters, so that one can look at
/// a graph where no server is set up.
async fn layers(path: &Path) -> Result<String, Box<dyn Error>> {
    let about = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let content = fs::read(path).map_err(|error| about(&error))?;
    let graph: GraphFile = serde_json::from_slice(&content).map_err(|error| about(&error))?;
    let url = std::env::var("NIX_POPULARITY_URL").ok().filter(|url| !url.is_empty());
    let popularity = popularity::load(url.as_deref()).await?.popularity;
    let layers = group(&graph.closure, &graph.roots, &popularity, DEFAULT_MAX_LAYERS)
        .map_err(|error| about(&error))?;
    Ok(report(&layers, &graph.closure))
}
