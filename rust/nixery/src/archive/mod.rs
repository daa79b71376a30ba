//! Turning store paths into layers.
