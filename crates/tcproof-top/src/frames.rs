//! Frames at several sizes.
