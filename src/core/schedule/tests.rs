mod complaints;
mod decisions;
mod requests;
mod simulation;
mod world;
mod zones;
