//! Archives of images, as Docker and the OCI image specification have them.

mod load;
mod save;
