//! This program on a device, for the record of an evaluation.

use revealed::Device;
use revealed::eval::Environment;

/// Version, device and command line.
pub fn environment(device: &Device) -> Environment {
    Environment::new(device, std::env::args().skip(1).collect())
}
