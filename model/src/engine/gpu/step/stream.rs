//! A half-batch on the GPU: its sessions' state, its buffers, and a captured step for each size.

use std::collections::BTreeMap;
use std::sync::Arc;

use cudarc::driver::sys::{CUdeviceptr, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaFunction, CudaGraph, CudaSlice, CudaStream, result};

use super::super::{Attempt, CudaError, Gpu, launcher};
use super::memory::{Memory, Pinned};
use crate::engine::launch::Launch;
use crate::engine::step_program::stream::{Inputs, StepStream};
use crate::engine::step_program::{Choice, FLAGS, FRESH, Region, SILENT, SLOT, StepProgram, choices};
use crate::error::Result;

/// Words of a row that comes back.
const CHOICE_WORDS: usize = 3;

/// See the module. Used from one thread at a time.
pub(crate) struct GpuStream {
    // Before what they use: fields are dropped in order.
    graphs: BTreeMap<usize, CudaGraph>,
    program: StepProgram,
    weights: Arc<Memory>,
    memory: Memory,
    stream: Arc<CudaStream>,
    row_inputs: Pinned<u32>,
    draws: Pinned<u64>,
    choices: Pinned<u32>,
    slots: usize,
    /// Rows of the step that is prepared or in flight, padded.
    rows: usize,
}

impl GpuStream {
    /// Allocates and captures for up to `rows` rows.
    ///
    /// # Errors
    /// [`CudaError`].
    pub(super) fn new(gpu: &Gpu, program: &StepProgram, weights: &Arc<Memory>, rows: usize) -> Result<Self> {
        let sizes = StepProgram::buckets(rows);
        let slots = sizes.last().copied().unwrap_or(rows);
        let stream = gpu.context().new_stream().to("make a stream")?;
        let regions = program.state().into_iter().chain(program.batch());
        let memory = Memory::zeros(gpu, &stream, program, regions, slots)?;
        let mut this = Self {
            graphs: BTreeMap::new(),
            program: program.clone(),
            weights: weights.clone(),
            memory,
            row_inputs: Pinned::zeros(gpu, slots * program.row_input_words())?,
            draws: Pinned::zeros(gpu, slots * program.draw_words())?,
            choices: Pinned::zeros(gpu, slots * CHOICE_WORDS)?,
            stream,
            slots,
            rows: 0,
        };
        for size in sizes {
            let graph = this.capture(gpu, size)?;
            this.graphs.insert(size, graph);
        }
        Ok(this)
    }

    /// Makes a step of `rows` rows that can be launched again and again.
    fn capture(&mut self, gpu: &Gpu, rows: usize) -> Result<CudaGraph> {
        let launches = self.program.launches(rows);
        let functions =
            launches.iter().map(|launch| launcher::function(gpu, launch)).collect::<Result<Vec<_>, _>>()?;
        // Once for real, with sessions that begin and choose nothing: functions that the driver loads when they are
        // first used are loaded then, which it may not do within a capture.
        let words = self.program.row_input_words();
        let row_inputs = self.row_inputs.values_mut();
        for (slot, row_input) in row_inputs.chunks_exact_mut(words).enumerate() {
            row_input.fill(0);
            row_input[SLOT] = slot as u32;
            row_input[FLAGS] = FRESH | SILENT;
        }
        self.issue(rows, &launches, &functions)?;
        self.stream.synchronize().to("run a first step")?;
        // Other threads of the process may go on with theirs.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).to("begin a graph")?;
        let issued = self.issue(rows, &launches, &functions);
        // Ended in any case, or the stream stays in capture.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).to("end a graph");
        issued?;
        let missing = || CudaError::NoKernel { module: "decode", function: "an empty graph".to_owned() };
        let graph = graph?.ok_or_else(missing)?;
        graph.upload().to("bring a graph to the device")?;
        Ok(graph)
    }

    /// Puts a step on the stream: up, kernels, down.
    fn issue(&mut self, rows: usize, launches: &[Launch<Region>], functions: &[CudaFunction]) -> Result<()> {
        let (row_input, draw) = (self.program.row_input_words(), self.program.draw_words());
        let address = |region| self.address(region);
        let stream = self.stream.cu_stream();
        let to = (address(Region::RowInputs)?, address(Region::Draws)?, address(Region::Choices)?);
        let row_inputs = &self.row_inputs.values()[..rows * row_input];
        // SAFETY: the region has room for as many rows; both live as long as the half-batch, which waits for its CUDA
        // stream on drop.
        unsafe { result::memcpy_htod_async(to.0, row_inputs, stream) }.to("copy to the device")?;
        let draws = &self.draws.values()[..rows * draw];
        // SAFETY: as above.
        unsafe { result::memcpy_htod_async(to.1, draws, stream) }.to("copy to the device")?;
        for (launch, function) in launches.iter().zip(functions) {
            let address = |&region: &Region| Ok(self.address(region)?);
            // SAFETY: arguments and geometry are those of `StepProgram::launches`, which the kernels' tests run on the
            // host with guards around every region; the regions have the sizes that it was made for.
            unsafe { launcher::launch(&self.stream, function, launch, address) }?;
        }
        let stream = self.stream.cu_stream();
        let choices = &mut self.choices.values_mut()[..rows * CHOICE_WORDS];
        // SAFETY: as above; the host reads them only after it has waited for the stream.
        unsafe { result::memcpy_dtoh_async(choices, to.2, stream) }.to("copy from the device")?;
        Ok(())
    }

    /// What a region of the half-batch holds; `None` for a parameter.
    pub(super) fn bytes(&self, region: Region) -> Option<&CudaSlice<u8>> {
        self.memory.slice(region)
    }

    /// The CUDA stream that all copies and kernels of the half-batch are on.
    pub(super) fn cuda_stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    fn address(&self, region: Region) -> Result<CUdeviceptr, CudaError> {
        let found = self.memory.address(region).or_else(|| self.weights.address(region));
        found.ok_or_else(|| CudaError::NoKernel { module: "decode", function: format!("{region:?}") })
    }
}

impl StepStream for GpuStream {
    fn program(&self) -> &StepProgram {
        &self.program
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn inputs(&mut self, rows: usize) -> Result<Inputs<'_>> {
        let found = self.graphs.range(rows..).next().map(|(&size, _)| size);
        self.rows = found.ok_or_else(|| {
            crate::error::Error::input("rows of a step", format!("at most {}", self.slots), rows)
        })?;
        let (row_inputs, draws) =
            (self.rows * self.program.row_input_words(), self.rows * self.program.draw_words());
        Ok(Inputs {
            row_inputs: &mut self.row_inputs.values_mut()[..row_inputs],
            draws: &mut self.draws.values_mut()[..draws],
        })
    }

    fn start(&mut self) -> Result<()> {
        if let Some(graph) = self.graphs.get(&self.rows) {
            graph.launch().to("start a step")?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Choice>) -> Result<()> {
        self.stream.synchronize().to("finish a step")?;
        let words = &self.choices.values()[..self.rows * CHOICE_WORDS];
        out.clear();
        out.extend(choices(words, self.program.vocab()));
        Ok(())
    }
}

impl Drop for GpuStream {
    fn drop(&mut self) {
        // What is in flight writes to the buffers that are freed next. A device that failed has nothing in flight.
        let _ = self.stream.synchronize();
    }
}
