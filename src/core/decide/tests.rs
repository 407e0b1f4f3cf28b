mod arbitrary;
mod budgets;
mod clean_up;
mod limits;
mod stories;
mod trouble;
mod unreported;
mod world;
