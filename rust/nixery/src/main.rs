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
use nixery::layers::{Closure, GraphFile, Layer, Popularity, group, picture, report};
use nixery::store_path::StorePath;
use nixery::{popularity, process, serve, telemetry};

/// An ad-hoc container registry: the names of Nix packages in, container images
/// out. It is set up by a TOML file and by environment variables; all it needs
/// is a package source, such as NIXERY_CHANNEL=nixos-unstable.
#[derive(Parser)]
#[command(version)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
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
    /// With --layers: print a picture, as SVG
    #[arg(long, requires = "layers")]
    svg: bool,
    /// With --svg: a picture of the layers that this closure graph has in common
    #[arg(long, value_name = "GRAPH.json", requires = "svg")]
    beside: Option<PathBuf>,
    /// With --layers: the most layers that there may be
    #[arg(long, value_name = "NUMBER", requires = "layers", default_value_t = DEFAULT_MAX_LAYERS)]
    max_layers: usize,
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
        let text = runtime.block_on(layers(arguments, graph))?;
        return Ok(io::stdout().write_all(text.as_bytes())?);
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
async fn layers(arguments: &Arguments, graph: &Path) -> Result<String, Box<dyn Error>> {
    let url = std::env::var("NIX_POPULARITY_URL").ok().filter(|url| !url.is_empty());
    let popularity = popularity::load(url.as_deref()).await?.popularity;
    let image = Grouped::read(graph, &popularity, arguments.max_layers)?;
    if let Some(other) = &arguments.beside {
        let other = Grouped::read(other, &popularity, arguments.max_layers)?;
        return Ok(picture::beside(&[image.drawn(), other.drawn()]));
    }
    let Grouped { name, closure, roots, layers } = &image;
    if arguments.svg {
        return Ok(picture::graph(layers, closure, roots, &popularity, name));
    }
    Ok(report(layers, closure))
}

/// A closure from a file, with its layers.
struct Grouped {
    /// That of the file, without `.json`.
    name: String,
    closure: Closure,
    roots: Vec<StorePath>,
    layers: Vec<Layer>,
}

impl Grouped {
    fn read(path: &Path, popularity: &Popularity, most: usize) -> Result<Self, Box<dyn Error>> {
        let about = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        let content = fs::read(path).map_err(|error| about(&error))?;
        let graph: GraphFile = serde_json::from_slice(&content).map_err(|error| about(&error))?;
        let layers =
            group(&graph.closure, &graph.roots, popularity, most).map_err(|error| about(&error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, closure: graph.closure, roots: graph.roots, layers })
    }

    fn drawn(&self) -> picture::Image<'_> {
        picture::Image { name: &self.name, layers: &self.layers, closure: &self.closure }
    }
}
