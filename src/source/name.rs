//! Names for images that come without a registry.

use std::path::Path;

use crate::oci::Reference;

/// Returns the first of `names` that is a full image name, or else one made of the file's name:
/// `localhost/<file>:<tag>`, as podman calls what was built or loaded here.
pub(super) fn of_image<'a>(
    names: impl IntoIterator<Item = &'a str>,
    path: &Path,
    tag: Option<&str>,
) -> Reference {
    // A bare tag would be read as the name of an official image.
    let mut full = names.into_iter().filter(|name| name.contains('/'));
    full.find_map(|name| name.parse().ok())
        .unwrap_or_else(|| of_file(path, tag))
}

fn of_file(path: &Path, tag: Option<&str>) -> Reference {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let with_tag = |stem: &str| -> Option<Reference> {
        let local: Reference = format!("localhost/{stem}").parse().ok()?;
        Some(
            tag.and_then(|tag| local.with_tag(tag).ok())
                .unwrap_or(local),
        )
    };
    let word = word_of(&stem);
    with_tag(&word)
        .or_else(|| with_tag("image"))
        .unwrap_or_else(Reference::local_image)
}

/// Returns the letters and digits of a text, in lower case, with a dash for all that is between.
fn word_of(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words
        .join("-")
        .chars()
        .take(100)
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            (
                "full name",
                &["latest", "h.io/a:1"][..],
                "/d",
                None,
                "h.io/a:1",
            ),
            (
                "familiar name",
                &["user/app:1"],
                "/d",
                None,
                "docker.io/user/app:1",
            ),
            (
                "bare tag",
                &["v1"],
                "/no/My_App.tar",
                Some("v1"),
                "localhost/my-app:v1",
            ),
            (
                "no tag",
                &[],
                "/no/Büro (2)",
                None,
                "localhost/b-ro-2:latest",
            ),
            (
                "bad tag",
                &[],
                "/no/app",
                Some("a b"),
                "localhost/app:latest",
            ),
            (
                "bad name",
                &["../x"],
                "/no/app",
                None,
                "localhost/app:latest",
            ),
            ("no letters", &[], "/no/___", None, "localhost/image:latest"),
            (
                "an image ID",
                &[],
                "/no/...",
                Some("1"),
                "localhost/image:1",
            ),
        ];
        for (why, names, path, tag, expected) in cases {
            let name = of_image(names.iter().copied(), Path::new(path), tag);
            assert_eq!(name.to_string(), expected, "{why}");
        }
    }
}
