//! What holds for every profile of the catalogue.
