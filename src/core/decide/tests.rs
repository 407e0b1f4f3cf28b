mod arbitrary;
mod clean_up;
mod stories;
mod trouble;
mod world;
