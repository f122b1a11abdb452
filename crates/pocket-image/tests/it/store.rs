//! Names, listing and removal.

use std::fs;

use pocket_image::{Error, ImageStore};

use super::Bench;

fn blobs(bench: &Bench) -> usize {
    fs::read_dir(bench.store.dir().join("blobs/sha256")).unwrap().count()
}

#[test]
fn images_are_found_by_all_their_names() {
    let bench = Bench::new();
    let image = bench.quick("frontend:v1", "v1");
    let id = image.id.to_string();
    let by_digest = format!("frontend@{}", image.manifest);
    for name in ["frontend:v1", "docker.io/library/frontend:v1", "library/frontend:v1", &id, &by_digest] {
        assert_eq!(bench.store.resolve(name).unwrap().id, image.id, "{name}");
    }
    for name in ["frontend", "frontend:v2", "other/frontend:v1", &format!("backend@{}", image.manifest)] {
        assert!(matches!(bench.store.resolve(name), Err(Error::NotFound(_))), "{name}");
    }
    assert_eq!(bench.store.resolve("frontend").unwrap_err().to_string(), "image `frontend` is not in the local store");
    assert!(matches!(bench.store.resolve("Frontend"), Err(Error::Reference { .. })));
}

#[test]
fn a_list_is_sorted_and_a_name_moves() {
    let bench = Bench::new();
    let one = bench.quick("b:v1", "1");
    let two = bench.quick("a:v1", "2");
    bench.store.tag("b:v1", "a:v2").unwrap();
    bench.store.tag("a:v1", "b:v1").unwrap();
    let list = bench.store.list().unwrap();
    let lines: Vec<_> = list.iter().map(|image| (image.reference.as_str(), &image.id)).collect();
    assert_eq!(lines, [("a:v1", &two.id), ("a:v2", &one.id), ("b:v1", &two.id)]);
    assert!(list.iter().all(|image| image.created.is_some() && image.size > 0 && image.platform.starts_with("linux/")));
}

#[test]
fn removal_takes_what_nobody_else_needs() {
    let bench = Bench::new();
    bench.quick("a:v1", "same");
    bench.quick("b:v1", "other");
    bench.store.tag("a:v1", "a:v2").unwrap();
    assert_eq!(blobs(&bench), 6);
    bench.store.remove("a:v1").unwrap();
    assert_eq!((blobs(&bench), bench.store.list().unwrap().len()), (6, 2));
    bench.store.remove("a:v2").unwrap();
    assert_eq!(blobs(&bench), 3);
    assert!(bench.store.resolve("b:v1").is_ok());
    assert!(matches!(bench.store.remove("a:v2"), Err(Error::NotFound(_))));
}

#[test]
fn unpacked_trees_go_when_nobody_needs_them() {
    let bench = Bench::new();
    let (old, used, new) = (bench.quick("old", "1"), bench.quick("used", "2"), bench.quick("new", "3"));
    let [old_dir, used_dir, new_dir] = [&old, &used, &new].map(|image| bench.store.layers(image).unwrap().remove(0));
    bench.store.remove("old").unwrap();
    bench.store.remove("used").unwrap();
    bench.store.prune_unpacked(std::slice::from_ref(&used_dir)).unwrap();
    assert_eq!([old_dir.exists(), used_dir.exists(), new_dir.exists()], [false, true, true]);
}

#[test]
fn many_may_write_at_once() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let bench = &bench;
            scope.spawn(move || {
                for round in 0..5 {
                    let name = format!("image-{thread}:v{round}");
                    let image = bench.quick(&name, &name);
                    bench.store.layers(&image).unwrap();
                    if round % 2 == 0 {
                        bench.store.remove(&name).unwrap();
                    }
                }
            });
        }
    });
    let again = ImageStore::open(bench.store.dir()).unwrap();
    let list = again.list().unwrap();
    assert_eq!(list.len(), 16);
    for image in list {
        again.layers(&again.resolve(&image.reference).unwrap()).unwrap();
    }
}

#[test]
fn damage_is_noticed() {
    let bench = Bench::new();
    let image = bench.quick("a", "text");
    let blob = |digest: &pocket_image::Digest| bench.store.dir().join("blobs/sha256").join(digest.hex());
    let layer = blob(&image.layers[0].digest);
    let mut bytes = fs::read(&layer).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"text").unwrap();
    bytes[at] = b'T';
    fs::write(&layer, bytes).unwrap();
    assert!(matches!(bench.store.layers(&image), Err(Error::Corrupt { .. })));
    fs::write(blob(&image.id), "{}").unwrap();
    assert!(matches!(bench.store.resolve("a"), Err(Error::Corrupt { .. })));
    bench.store.remove("a").unwrap();
    assert_eq!(blobs(&bench), 0);
}
