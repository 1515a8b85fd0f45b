/** The messages that the page speaks, as `proto/src/messages.rs` has them. */

/** @typedef {import('./protobuf.js').Schema} Schema */

/** @type {Schema} */
export const Empty = {};

/** @type {Schema} */
export const Hello = {
  proto_min: [1, 'number'],
  proto_max: [2, 'number'],
  features: [3, 'number'],
  version: [4, 'string'],
  build: [5, 'string'],
};

/** @type {Schema} */
export const Unsupported = { kind: [1, 'number'] };

/** @type {Schema} */
export const Close = { reason: [1, 'number'], detail: [2, 'string'] };

/** @type {Schema} */
export const Subscribe = {
  from: [1, 'number', 'optional'],
  credit: [2, 'number'],
  scrollback_lines: [3, 'number'],
  status_only: [4, 'bool'],
};

/** @type {Schema} */
export const Resize = { cols: [1, 'number'], rows: [2, 'number'] };

/** @type {Schema} */
export const Request = {
  id: [1, 'number'],
  connect: [40, { host: [1, 'string'] }],
  events: [12, { since_ms: [1, 'number', 'optional'] }],
};

/** @type {Schema} */
export const Reply = {
  id: [1, 'number'],
  json: [2, 'string', 'optional'],
  error: [3, { kind: [1, 'string'], message: [2, 'string'], hint: [3, 'string'] }],
  more: [4, 'bool'],
};

/** @type {Schema} */
export const Attach = {
  session: [1, 'string'],
  view_id: [2, 'bytes'],
  cols: [3, 'number'],
  rows: [4, 'number'],
  read_only: [5, 'bool'],
  take: [6, 'bool'],
  lossless: [7, 'bool'],
  kind: [8, 'string'],
  resume: [9, 'number', 'optional'],
  credit: [10, 'number'],
  scrollback_lines: [11, 'number'],
  job_id: [12, 'string'],
  passive: [30, 'bool'],
  uncounted: [31, 'bool'],
  no_output: [32, 'bool'],
  no_images: [35, 'bool'],
  standing: [40, { leads: [1, 'bool'], sizes: [2, 'bool'] }],
};

/** @type {Schema} */
export const Attached = {
  session_id: [1, 'string'],
  name: [2, 'string'],
  host: [3, 'string'],
  job_id: [4, 'string'],
};

/** @type {Schema} */
export const ViewState = {
  link: [1, 'string'],
  epoch: [2, 'number'],
  next_try_ms: [3, 'number', 'optional'],
  detail: [4, 'string'],
  leader: [5, 'bool'],
  cols: [6, 'number'],
  rows: [7, 'number'],
  silent_ms: [8, 'number', 'optional'],
  text_rows: [9, 'number', 'optional'],
  doing: [30, { state: [1, 'string'], source: [2, 'string'], since_ms: [3, 'number'], note: [4, 'string'] }],
  sizes: [31, 'bool'],
  holder_silent_ms: [32, 'number', 'optional'],
};

/** @type {Schema} */
export const ExitRecord = {
  reason: [1, 'number'],
  code: [2, 'signed', 'optional'],
  signal: [3, 'signed', 'optional'],
  at_ms: [4, 'number'],
  final_offset: [5, 'number'],
  detail: [6, 'string'],
  out_of_memory: [7, 'bool'],
};

/** @type {Schema} */
export const Detach = { detail: [1, 'string'] };

/** @type {Schema} */
export const Event = { json: [1, 'string'] };

/** @type {Schema} */
export const Question = {
  id: [1, 'number'],
  host: [2, 'string'],
  text: [3, 'string'],
  prompt: [4, 'string'],
  echo: [5, 'bool'],
};

/** @type {Schema} */
export const QuestionAnswer = { id: [1, 'number'], given: [2, 'string', 'optional'] };

/** @type {Schema} */
export const QuestionOver = { id: [1, 'number'] };
