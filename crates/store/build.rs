//! Rebuilds the crate when a migration is added, because `sqlx::migrate!` embeds the migrations.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
