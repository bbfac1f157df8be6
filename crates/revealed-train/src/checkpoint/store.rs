//! Models and optimizers in one checkpoint's folder.

use std::fs;
use std::path::Path;

use burn::module::Module;
use revealed_models::{CausalLm, ScalarModel, write_file};
use revealed_reward::{Calibration, RewardModel};

use crate::error::TrainError;
use crate::optimizer::{OptimizerConfig, Place, Updater};
use crate::recipe::{Recipe, Tuning};

/// A checkpoint's folder, as the run's recipe writes it: adapters under LoRA, else full weights.
pub(super) struct Store<'a> {
    pub folder: &'a Path,
    pub recipe: &'a Recipe,
}

impl Store<'_> {
    fn base(&self) -> &str {
        &self.recipe.model.path
    }

    pub fn put_policy(&self, name: &str, model: &CausalLm) -> Result<(), TrainError> {
        let (model, folder) = (model.valid(), self.folder.join(name));
        match self.recipe.model.tuning {
            Tuning::Lora => model.save_adapter(&folder, self.base())?,
            Tuning::Full => model.save(&folder)?,
        }
        Ok(())
    }

    pub fn policy(&self, name: &str, initial: &CausalLm) -> Result<CausalLm, TrainError> {
        let folder = self.folder.join(name);
        let model = match self.recipe.model.tuning {
            Tuning::Lora => initial.clone().with_adapter(&folder)?,
            Tuning::Full => CausalLm::load(&folder, &initial.device())?
                .with_compute_dtype(initial.compute_dtype())?,
        };
        Ok(model.valid())
    }

    pub fn put_scalar(&self, name: &str, model: &ScalarModel) -> Result<(), TrainError> {
        let (model, folder) = (model.valid(), self.folder.join(name));
        match self.recipe.model.tuning {
            Tuning::Lora => model.save_adapter(&folder, self.base())?,
            Tuning::Full => model.save(&folder, 0)?,
        }
        Ok(())
    }

    pub fn scalar(&self, name: &str, initial: &CausalLm) -> Result<ScalarModel, TrainError> {
        let folder = self.folder.join(name);
        let mut model = match self.recipe.model.tuning {
            Tuning::Lora => ScalarModel::load_adapter(initial.clone(), &folder)?,
            Tuning::Full => ScalarModel::load(&folder, &initial.device())?,
        };
        model.backbone = model.backbone.with_compute_dtype(initial.compute_dtype())?;
        Ok(model.valid())
    }

    pub fn reward(
        &self,
        name: &str,
        calibration: Calibration,
        initial: &CausalLm,
    ) -> Result<RewardModel, TrainError> {
        Ok(RewardModel { model: self.scalar(name, initial)?, calibration })
    }

    /// Gives what an updater is beside its moments.
    pub fn put_updater<M: Module>(
        &self,
        name: &str,
        updater: &Updater<M>,
    ) -> Result<Place, TrainError> {
        let path = self.folder.join(format!("{name}.bpk"));
        let (place, bytes) = updater.to_parts().map_err(|error| refused(&path, &error))?;
        write_file(&path, &bytes)?;
        Ok(place)
    }

    pub fn updater<M: Module>(
        &self,
        name: &str,
        config: &OptimizerConfig,
        place: Place,
    ) -> Result<Updater<M>, TrainError> {
        let path = self.folder.join(format!("{name}.bpk"));
        let bytes = fs::read(&path).map_err(TrainError::io(&path))?;
        Updater::from_parts(config, place, bytes).map_err(|error| refused(&path, &error))
    }
}

fn refused(path: &Path, error: &burn::store::RecordError) -> TrainError {
    TrainError::Checkpoint { path: path.into(), reason: error.to_string() }
}
