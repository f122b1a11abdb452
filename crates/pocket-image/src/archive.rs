//! Archives of images, in the formats of Docker and of the OCI image specification.

mod load;
mod save;
