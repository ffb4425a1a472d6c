// Runs the model `net` on a ramp of numbers and prints the five best classes.
// Arguments: channels, height and width of its input.
use std::env;

use wasi_nn::{ExecutionTarget, GraphBuilder, GraphEncoding, TensorType};

fn softmax(scores: &mut [f32]) {
    let most = scores.iter().cloned().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for s in scores.iter_mut() {
        *s = (*s - most).exp();
        sum += *s;
    }
    for s in scores.iter_mut() {
        *s /= sum;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dims: Vec<usize> = std::iter::once(Ok(1))
        .chain(env::args().skip(1).map(|a| a.parse()))
        .collect::<Result<_, _>>()?;
    let count: usize = dims.iter().product();
    let input: Vec<f32> = (0..count).map(|i| (i % 255) as f32 / 255.0).collect();

    let graph = GraphBuilder::new(GraphEncoding::Onnx, ExecutionTarget::CPU)
        .build_from_cache("net")?;
    let mut context = graph.init_execution_context()?;
    context.set_input(0, TensorType::F32, &dims, &input)?;
    context.compute()?;
    let mut scores = vec![0f32; 100_000];
    let bytes = context.get_output(0, &mut scores)?;
    scores.truncate(bytes / 4);

    softmax(&mut scores);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    for &class in order.iter().take(5) {
        println!("{:6.2}%  class {}", scores[class] * 100.0, class);
    }
    Ok(())
}
