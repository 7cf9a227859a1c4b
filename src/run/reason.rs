//! Every reason that a decision can have, in one enum: status, `describe`, API and logs print it.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Why something is as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Self::$name),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    /// The document can be carried out.
    Valid,
    /// The document has problems.
    Invalid,
    /// Another document has the name, or another file the status file.
    Conflict,
    /// The file has a syntax error before or in this document.
    Unreadable,
    /// The file is still being written.
    StillWritten,
    Suspended,
    /// `state: Cancelled`, a command, or an edit ended it.
    Cancelled,
    /// A newer spec took its place before it began.
    Superseded,
    /// The file is gone.
    Deleted,
    /// What the request asks for was measured before.
    AlreadyRan,
    /// An edit that `onChange: Ignore` leaves unmeasured.
    ChangeIgnored,
    /// The watched root cannot be trusted at present.
    Degraded,
    /// First sight of what the files say.
    Registered,
    NewSpec,
    RerunAsked,
    /// Another run holds the service.
    ServiceBusy,
    /// Another run holds the devices.
    DeviceBusy,
    /// Something measures; heavy work waits.
    MachineBusy,
    /// The executors were not listed yet.
    NotListed,
    ServiceUnknown,
    ServiceNotLlamaCpp,
    ServiceUnusable,
    ServiceRunning,
    ModelUnknown,
    NoExecutor,
    ParamsUnavailable,
    PullingImage,
    ProbingTool,
    HashingModel,
    Preparing,
    Admitted,
    Prepared,
    ImageUnavailable,
    PreparingTimedOut,
    CollectingTimedOut,
    StartingTask,
    Measuring,
    DrainingOutput,
    StoppingTask,
    NextStep,
    StoppingService,
    StartingService,
    ServiceNotRestored,
    Collecting,
    Completed,
    /// The executor does not answer; nothing is known of the task.
    ExecutorUnreachable,
    Retrying,
    /// The machine was restarted.
    Restarted,
    Interrupted,
    Lost,
    RunUnknown,
    RunNotCompleted,
    CaseNeeded,
    NothingToApply,
    Applying,
    Applied,
    AlreadyApplied,
    DryRun,
    ApplyConflict,
    ApplyUnverified,
    ApplyFailed,
    InternalError,
    Idle,
    // What becomes of comparisons.
    Judging,
    Judged,
    /// No baseline of that name is there for the run.
    NoBaseline,
    NotComparable,
    PolicyPass,
    PolicyWarn,
    PolicyFail,
    /// Under `strict`: the figures passed, and the evidence does not carry it.
    EvidenceRegression,
    EvidenceInconclusive,
    BaselineSet,
    /// It is not proven better than its baseline by as much as was asked.
    NotImproved,
    // How load tests fail.
    /// The engine does not answer, or not as one that is ready.
    EngineUnreachable,
    /// An engine that was started for the run did not become ready.
    EngineFailed,
    StartingEngine,
    StoppingEngine,
    /// The settings describe a custom engine that cannot be spoken to.
    EngineMisdescribed,
    EngineUnknown,
    PromptsUnusable,
    ConversationsUnusable,
    TemplateUnusable,
    /// No conversation fits into the model's context.
    ContextTooSmall,
    TokenizerUnusable,
    KeyMissing,
    /// A limit of the system that the load would pass.
    LimitReached,
    MeasuringFailed,
    /// Nothing of what was asked for succeeded.
    NoSuccess,
    // Whether a load test's figures mean what they say.
    Trustworthy,
    ClientLate,
    ClientBusy,
    ErrorRate,
    CacheHits,
    OutputLength,
    CutShort,
    /// Answers are empty or repeat themselves.
    BrokenAnswers,
    /// Every conversation that was chosen was held to its end.
    AllHeld,
    ContextFull,
    /// A turn got no answer to go on from.
    TurnFailed,
    ExpectationsMet,
    ExpectationsMissed,
    ObjectivesMet,
    ObjectivesMissed,
    /// None was missed, and one could not be measured.
    ObjectivesUnknown,
    // How model files come, and fail to.
    Downloading,
    /// 401 or 403: a gated or private repository, or a token that does not open it.
    NoAccess,
    /// Nothing is reached: no name, no route, no connection.
    NetworkUnreachable,
    /// The connection broke off again and again.
    DownloadBroken,
    /// A redirect to where a download must not go.
    RedirectRefused,
    HashDiffers,
    SizeDiffers,
    /// What came is no model: a page, or nothing at all.
    NoModelFile,
    /// The server says no size, so that nothing bounds what it sends.
    SizeUnknown,
    DiskSpaceShort,
    /// The cache cannot be written.
    CacheUnusable,
    // How llama-bench fails.
    InvalidFlag,
    InvalidValue,
    ModelNotFound,
    ModelUnreadable,
    ModelNotLoadable,
    NoResults,
    InvalidOutput,
    OutOfMemory,
    GpuUnavailable,
    LlamaBenchMissing,
    SharedLibraryMissing,
    MountMissing,
    StartFailed,
    Crashed,
    Killed,
    TimedOut,
    OutputTooLarge,
    UnsupportedCombination,
    DownloadRefused,
    ToolFailed,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal or failure in full: the reason for machines, the message for people, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
