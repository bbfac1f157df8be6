//! Models and optimizers in the folder of a checkpoint.

use std::fs;
use std::path::Path;

use burn::module::Module;
use revealed_models::{CausalLm, ScalarModel, write_file};
use revealed_reward::{Calibration, RewardModel};

use crate::error::TrainError;
use crate::optim::{ScheduleState, Updater};
use crate::recipe::{OptimizerConfig, Recipe, Tuning};

/// The folder of a checkpoint: with adapters for LoRA, otherwise with full weights.
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

    /// Writes the moments of an optimizer and returns its other state.
    pub fn put_updater<M: Module>(
        &self,
        name: &str,
        updater: &Updater<M>,
    ) -> Result<ScheduleState, TrainError> {
        let path = self.folder.join(format!("{name}.bpk"));
        let (state, bytes) = updater.to_parts().map_err(|error| refused(&path, &error))?;
        write_file(&path, &bytes)?;
        Ok(state)
    }

    pub fn updater<M: Module>(
        &self,
        name: &str,
        config: &OptimizerConfig,
        state: ScheduleState,
    ) -> Result<Updater<M>, TrainError> {
        let path = self.folder.join(format!("{name}.bpk"));
        let bytes = fs::read(&path).map_err(TrainError::io(&path))?;
        Updater::from_parts(config, state, bytes).map_err(|error| refused(&path, &error))
    }
}

fn refused(path: &Path, error: &burn::store::RecordError) -> TrainError {
    TrainError::Checkpoint { path: path.into(), reason: error.to_string() }
}
