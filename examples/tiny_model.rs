//! Writes a small llama model with random weights as GGUF, for trying benchlet out and for its tests:
//! no download, the same bytes for the same arguments, and llama-bench and llama-server load it.
//!
//! What it says is words without sense, always valid UTF-8, and it never stops by itself: one
//! dimension of the residual stream holds the same value for every token, so that its column in the
//! output matrix is a bias for each token. That bias keeps byte, control and end tokens away.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Writes a random llama model as GGUF.

Usage: tiny_model [OPTIONS] FILE

Options:
  --seed N           of the weights [default: 1]
  --layers N         transformer blocks [default: 2]
  --embedding N      width, a multiple of 64 [default: 128]
  --feed-forward N   width of the feed-forward part [default: 2 × embedding]
  --context N        longest context that the model claims [default: 4096]
  --vocabulary N     tokens, 700 to 8000 [default: 1900]
  --name TEXT        the model's name [default: tiny]
  -h, --help         this text";

/// Smaller heads fail with a quantised KV cache (its blocks hold 32 values).
const HEAD_SIZE: usize = 32;
const ALIGNMENT: usize = 32;

fn main() -> ExitCode {
    let mut stdout = std::io::stdout();
    let mut stderr = std::io::stderr();
    let (said, code) = match Options::parse(std::env::args().skip(1)) {
        Ok(None) => (writeln!(stdout, "{USAGE}"), ExitCode::SUCCESS),
        Ok(Some(options)) => match write_model(&options) {
            Ok(bytes) => {
                let summary = format!("{}: {:.1} MB", options.file.display(), bytes as f64 / 1e6);
                (writeln!(stdout, "{summary}"), ExitCode::SUCCESS)
            }
            Err(error) => (writeln!(stderr, "{}: {error}", options.file.display()), ExitCode::FAILURE),
        },
        Err(problem) => (writeln!(stderr, "{problem}; see --help"), ExitCode::from(2)),
    };
    // A closed terminal is no reason to fail.
    drop(said);
    code
}

struct Options {
    file: PathBuf,
    name: String,
    seed: u64,
    layers: usize,
    embedding: usize,
    feed_forward: usize,
    context: usize,
    vocabulary: usize,
}

impl Options {
    /// `None` where help is asked for.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            file: PathBuf::new(),
            name: "tiny".to_owned(),
            seed: 1,
            layers: 2,
            embedding: 128,
            feed_forward: 0,
            context: 4096,
            vocabulary: 1900,
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            if argument == "-h" || argument == "--help" {
                return Ok(None);
            }
            if !argument.starts_with('-') {
                options.file = PathBuf::from(argument);
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{argument} {value}: not a number"));
            match argument.as_str() {
                "--seed" => options.seed = number()? as u64,
                "--layers" => options.layers = number()?,
                "--embedding" => options.embedding = number()?,
                "--feed-forward" => options.feed_forward = number()?,
                "--context" => options.context = number()?,
                "--vocabulary" => options.vocabulary = number()?,
                "--name" => options.name = value,
                _ => return Err(format!("{argument} is no option")),
            }
        }
        if options.feed_forward == 0 {
            options.feed_forward = 2 * options.embedding;
        }
        if options.file.as_os_str().is_empty() {
            return Err("the file to write is missing".to_owned());
        }
        if options.embedding == 0 || !options.embedding.is_multiple_of(2 * HEAD_SIZE) {
            return Err(format!("--embedding {}: not a multiple of 64", options.embedding));
        }
        if options.layers == 0 || options.context == 0 {
            return Err("--layers and --context are at least 1".to_owned());
        }
        if !(700..=8000).contains(&options.vocabulary) {
            return Err(format!("--vocabulary {}: not between 700 and 8000", options.vocabulary));
        }
        Ok(Some(options))
    }
}

// ---------------------------------------------------------------------------------------------
// Vocabulary
// ---------------------------------------------------------------------------------------------

/// The token's kind as the GGUF field `tokenizer.ggml.token_type` numbers it.
#[derive(Clone, Copy, PartialEq)]
enum TokenKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    Byte = 6,
}

struct Token {
    text: String,
    score: f32,
    kind: TokenKind,
    /// Added to its logit.
    bias: f32,
}

const UNKNOWN: u32 = 0;
const BEGIN: u32 = 1;
const END: u32 = 2;
const SPACE: char = '▁';

/// Far enough below every other logit that no sampler picks it.
const NEVER: f32 = -60.0;
/// Rare, so that the text reads like words.
const SELDOM: f32 = -3.0;

/// Words that prompts are made of; each with all its beginnings, because the tokenizer builds a word
/// by joining two neighbours at a time.
const WORDS: &str = "the and of to in is it you that he was for on are with as his they be at one have this \
    from or had by hot but some what there we can out other were all your when up use word how said each \
    she which their time will way about many then them would write like these her long make thing see him \
    two has look more day could go come did my sound no most number who over know water than call first \
    people may down side been now find any new work part take get place made live where after back little \
    only round man year came show every good me give our under name very through just form sentence great \
    think say help low line before turn cause much mean differ move right boy old too same tell does set \
    three want air well also play small end put home read hand port large spell add even land here must \
    big high such follow act why ask men change went light kind off need house picture try us again animal \
    point mother world near build self earth father café naïve über straße señor año 日本 語 мир да 🙂 🚀";

fn vocabulary(size: usize) -> Vec<Token> {
    let mut tokens = vec![
        control("<unk>", TokenKind::Unknown),
        control("<s>", TokenKind::Control),
        control("</s>", TokenKind::Control),
    ];
    tokens.extend((0..=255u8).map(|byte| control(&format!("<0x{byte:02X}>"), TokenKind::Byte)));
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(|marker| control(marker, TokenKind::Control)));

    let whole: HashSet<String> = WORDS.split_whitespace().map(|word| format!("{SPACE}{word}")).collect();
    let only_beginnings: HashSet<String> = beginnings().filter(|piece| !whole.contains(piece)).collect();
    let mut known = HashSet::new();
    for piece in pieces() {
        if tokens.len() == size {
            break;
        }
        if !known.insert(piece.clone()) {
            continue;
        }
        let beginning = only_beginnings.contains(&piece);
        let whole_word = piece.starts_with(SPACE) && piece.chars().count() > 2 && !beginning;
        tokens.push(Token {
            // A higher score joins earlier; the order of the pieces is the order of joining.
            score: -(tokens.len() as f32),
            kind: TokenKind::Normal,
            bias: if whole_word { 0.0 } else { SELDOM },
            text: piece,
        });
    }
    tokens
}

fn control(text: &str, kind: TokenKind) -> Token {
    Token { text: text.to_owned(), score: 0.0, kind, bias: NEVER }
}

/// Characters, syllables, beginnings of words, words, and words of two and three syllables: more
/// than the largest vocabulary takes.
fn pieces() -> impl Iterator<Item = String> {
    let characters = std::iter::once(SPACE)
        .chain('!'..='~')
        .chain(WORDS.chars().filter(|character| !character.is_whitespace()))
        .map(String::from);
    let alone = || syllables().map(|syllable| format!("{SPACE}{syllable}"));
    let pairs = || {
        alone().enumerate().flat_map(|(at, first)| partners(at, 24).map(move |next| first.clone() + &next))
    };
    let triples =
        pairs().enumerate().flat_map(|(at, pair)| partners(at, 4).map(move |next| pair.clone() + &next));
    characters.chain(syllables()).chain(beginnings()).chain(alone()).chain(pairs()).chain(triples)
}

/// `▁t`, `▁th`, `▁the` and so on, the whole words included.
fn beginnings() -> impl Iterator<Item = String> {
    WORDS.split_whitespace().flat_map(|word| {
        let word = format!("{SPACE}{word}");
        let ends: Vec<usize> = word.char_indices().map(|(at, character)| at + character.len_utf8()).collect();
        ends.into_iter().skip(1).map(move |end| word[..end].to_owned())
    })
}

fn syllables() -> impl Iterator<Item = String> {
    "bdfgklmnprstvz"
        .chars()
        .flat_map(|consonant| "aeiou".chars().map(move |vowel| [consonant, vowel].iter().collect()))
}

/// Some syllables that follow the one at `at`, others for each.
fn partners(at: usize, count: usize) -> impl Iterator<Item = String> {
    let all: Vec<String> = syllables().collect();
    (0..count).map(move |step| all[(at * 11 + step * 17) % all.len()].clone())
}

// ---------------------------------------------------------------------------------------------
// Weights
// ---------------------------------------------------------------------------------------------

enum Weights {
    /// Norms: all ones, F32.
    Ones,
    /// Uniform around zero with this standard deviation, F16. Row 0 is zero where `silent_first_row`:
    /// the block then adds nothing to the constant dimension.
    Random { deviation: f32, silent_first_row: bool },
    /// One row a token: the constant in column 0, noise in the others.
    Embedding { constant: f32 },
    /// One row a token: its bias, divided by what the constant is after the last norm, in column 0.
    Output { constant: f32, deviation: f32 },
}

struct Tensor {
    name: String,
    columns: usize,
    /// 0 for a vector.
    rows: usize,
    weights: Weights,
}

impl Tensor {
    fn bytes(&self) -> usize {
        match self.weights {
            Weights::Ones => self.columns * 4,
            Weights::Random { .. } | Weights::Embedding { .. } | Weights::Output { .. } => {
                self.columns * self.rows * 2
            }
        }
    }
}

fn tensors(options: &Options, vocabulary: usize) -> Vec<Tensor> {
    let Options { embedding, feed_forward, .. } = *options;
    let key_value = embedding / 2;
    // The constant's square is a fifth of the stream's, whatever the width.
    let constant = 0.5 * (embedding as f32).sqrt();
    let matrix = |name: String, columns: usize, rows: usize, gain: f32, silent_first_row: bool| {
        let deviation = gain / (columns as f32).sqrt();
        Tensor { name, columns, rows, weights: Weights::Random { deviation, silent_first_row } }
    };
    let norm = |name: String| Tensor { name, columns: embedding, rows: 0, weights: Weights::Ones };

    let mut tensors = vec![Tensor {
        name: "token_embd.weight".to_owned(),
        columns: embedding,
        rows: vocabulary,
        weights: Weights::Embedding { constant },
    }];
    for layer in 0..options.layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.extend([
            norm(name("attn_norm")),
            matrix(name("attn_q"), embedding, embedding, 1.0, false),
            matrix(name("attn_k"), embedding, key_value, 1.0, false),
            matrix(name("attn_v"), embedding, key_value, 1.0, false),
            matrix(name("attn_output"), embedding, embedding, 0.5, true),
            norm(name("ffn_norm")),
            matrix(name("ffn_gate"), embedding, feed_forward, 1.0, false),
            matrix(name("ffn_up"), embedding, feed_forward, 1.0, false),
            matrix(name("ffn_down"), feed_forward, embedding, 0.5, true),
        ]);
    }
    tensors.push(norm("output_norm".to_owned() + ".weight"));
    tensors.push(Tensor {
        name: "output.weight".to_owned(),
        columns: embedding,
        rows: vocabulary,
        // Logits with a deviation of about 2: a temperature makes a difference.
        weights: Weights::Output { constant, deviation: 2.0 / (embedding as f32).sqrt() },
    });
    tensors
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }
}

/// F16 values of a uniform distribution, looked up: a large model is then written in a second.
struct Noise {
    values: Vec<[u8; 2]>,
}

impl Noise {
    const STEPS: usize = 1 << 12;

    fn new(deviation: f32) -> Self {
        let reach = deviation * 3f32.sqrt();
        let values = (0..Self::STEPS)
            .map(|step| half((((step as f32 + 0.5) / Self::STEPS as f32) * 2.0 - 1.0) * reach))
            .collect();
        Self { values }
    }

    /// Appends this many values.
    fn fill(&self, random: &mut Random, count: usize, row: &mut Vec<u8>) {
        let mut left = count;
        while left > 0 {
            let mut bits = random.next();
            for _ in 0..left.min(5) {
                row.extend_from_slice(&self.values[(bits as usize) % Self::STEPS]);
                bits >>= 12;
            }
            left -= left.min(5);
        }
    }
}

/// The nearest IEEE 754 half; the values here are neither huge nor NaN.
fn half(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xFF) as i32 - 127 + 15;
    let magnitude = match exponent {
        // Too small for a normal half: its value in steps of 2^-24.
        i32::MIN..=0 => (value.abs() * 16_777_216.0).round() as u16,
        1..=30 => {
            let mantissa = bits & 0x007F_FFFF;
            // A carry out of the mantissa goes into the exponent, as it should.
            (((exponent as u32) << 10) + ((mantissa + 0x1000) >> 13)) as u16
        }
        31..=i32::MAX => 0x7BFF,
    };
    (sign | magnitude).to_le_bytes()
}

// ---------------------------------------------------------------------------------------------
// GGUF
// ---------------------------------------------------------------------------------------------

const CHAT_TEMPLATE: &str = "{%- for message in messages -%}\
    {{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' -}}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}";

enum Value<'a> {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'a str),
    Texts(Vec<&'a str>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
}

/// Returns the file's size.
fn write_model(options: &Options) -> std::io::Result<u64> {
    let tokens = vocabulary(options.vocabulary);
    let metadata = metadata(options, &tokens);
    let tensors = tensors(options, tokens.len());

    let mut head = Vec::new();
    head.extend_from_slice(b"GGUF");
    put_u32(&mut head, 3);
    put_u64(&mut head, tensors.len());
    put_u64(&mut head, metadata.len());
    for (key, value) in &metadata {
        put_text(&mut head, key);
        put_value(&mut head, value);
    }
    let mut offset = 0;
    for tensor in &tensors {
        put_text(&mut head, &tensor.name);
        let dimensions: &[usize] =
            if tensor.rows == 0 { &[tensor.columns] } else { &[tensor.columns, tensor.rows] };
        put_u32(&mut head, dimensions.len() as u32);
        for dimension in dimensions {
            put_u64(&mut head, *dimension);
        }
        put_u32(&mut head, if tensor.rows == 0 { 0 } else { 1 });
        put_u64(&mut head, offset);
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);

    // Under another name until it is whole: nobody loads half a model.
    let mut partial = options.file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    file.write_all(&head)?;
    let mut random = Random(options.seed);
    for tensor in &tensors {
        write_tensor(&mut file, tensor, &tokens, &mut random)?;
        let padding = tensor.bytes().next_multiple_of(ALIGNMENT) - tensor.bytes();
        file.write_all(&[0; ALIGNMENT][..padding])?;
    }
    file.flush()?;
    drop(file);
    std::fs::rename(&partial, &options.file)?;
    Ok((head.len() + offset) as u64)
}

fn write_tensor(
    file: &mut impl Write,
    tensor: &Tensor,
    tokens: &[Token],
    random: &mut Random,
) -> std::io::Result<()> {
    let columns = tensor.columns;
    let mut row = Vec::with_capacity(columns * 4);
    match tensor.weights {
        Weights::Ones => {
            for _ in 0..columns {
                file.write_all(&1f32.to_le_bytes())?;
            }
        }
        Weights::Random { deviation, silent_first_row } => {
            let noise = Noise::new(deviation);
            for index in 0..tensor.rows {
                row.clear();
                if silent_first_row && index == 0 {
                    row.resize(columns * 2, 0);
                } else {
                    noise.fill(random, columns, &mut row);
                }
                file.write_all(&row)?;
            }
        }
        Weights::Embedding { constant } => {
            let noise = Noise::new(1.0);
            for _ in 0..tensor.rows {
                row.clear();
                row.extend_from_slice(&half(constant));
                noise.fill(random, columns - 1, &mut row);
                file.write_all(&row)?;
            }
        }
        Weights::Output { constant, deviation } => {
            let noise = Noise::new(deviation);
            let mean_square = 1.0 + constant * constant / columns as f32;
            let after_norm = constant / mean_square.sqrt();
            for token in tokens {
                row.clear();
                row.extend_from_slice(&half(token.bias / after_norm));
                noise.fill(random, columns - 1, &mut row);
                file.write_all(&row)?;
            }
        }
    }
    Ok(())
}

fn metadata<'a>(options: &'a Options, tokens: &'a [Token]) -> Vec<(&'static str, Value<'a>)> {
    let heads = (options.embedding / HEAD_SIZE) as u32;
    vec![
        ("general.architecture", Value::Text("llama")),
        ("general.name", Value::Text(&options.name)),
        ("general.file_type", Value::U32(1)),
        ("general.alignment", Value::U32(ALIGNMENT as u32)),
        ("llama.vocab_size", Value::U32(tokens.len() as u32)),
        ("llama.context_length", Value::U32(options.context as u32)),
        ("llama.embedding_length", Value::U32(options.embedding as u32)),
        ("llama.block_count", Value::U32(options.layers as u32)),
        ("llama.feed_forward_length", Value::U32(options.feed_forward as u32)),
        ("llama.attention.head_count", Value::U32(heads)),
        ("llama.attention.head_count_kv", Value::U32(heads / 2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.dimension_count", Value::U32(HEAD_SIZE as u32)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", Value::Text("llama")),
        ("tokenizer.ggml.tokens", Value::Texts(tokens.iter().map(|token| token.text.as_str()).collect())),
        ("tokenizer.ggml.scores", Value::F32s(tokens.iter().map(|token| token.score).collect())),
        ("tokenizer.ggml.token_type", Value::I32s(tokens.iter().map(|token| token.kind as i32).collect())),
        ("tokenizer.ggml.unknown_token_id", Value::U32(UNKNOWN)),
        ("tokenizer.ggml.bos_token_id", Value::U32(BEGIN)),
        ("tokenizer.ggml.eos_token_id", Value::U32(END)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(false)),
        ("tokenizer.chat_template", Value::Text(CHAT_TEMPLATE)),
    ]
}

// The numbers are GGUF's value types.
fn put_value(bytes: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::U32(number) => {
            put_u32(bytes, 4);
            put_u32(bytes, *number);
        }
        Value::F32(number) => {
            put_u32(bytes, 6);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Value::Bool(flag) => {
            put_u32(bytes, 7);
            bytes.push(u8::from(*flag));
        }
        Value::Text(text) => {
            put_u32(bytes, 8);
            put_text(bytes, text);
        }
        Value::Texts(texts) => {
            put_list(bytes, 8, texts.len());
            for text in texts {
                put_text(bytes, text);
            }
        }
        Value::F32s(numbers) => {
            put_list(bytes, 6, numbers.len());
            for number in numbers {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        Value::I32s(numbers) => {
            put_list(bytes, 5, numbers.len());
            for number in numbers {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
}

fn put_list(bytes: &mut Vec<u8>, of: u32, length: usize) {
    put_u32(bytes, 9);
    put_u32(bytes, of);
    put_u64(bytes, length);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_u64(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_u32(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&(number as u64).to_le_bytes());
}
