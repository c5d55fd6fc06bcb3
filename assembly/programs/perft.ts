/**
 * Perft: counts the leaves of the chess move tree, the standard check of a move generator.
 *
 * Usage: perft [depth [start|kiwipete|FEN]]         default 5 start; a FEN is one argument or its six parts
 *
 * All rules: castling, en passant, promotion, check, pins. Prints the count below each first move and the total.
 * Known: start 20, 400, 8902, 197281, 4865609, 119060324; kiwipete 48, 2039, 97862, 4085603, 193690690.
 */
import { args, fail, println } from "sherd/guest";

// 0x88 board: square = rank * 16 + file; a square is off the board when (square & 0x88) != 0.
// Pieces: 1 pawn, 2 knight, 3 bishop, 4 rook, 5 queen, 6 king; +8 for black; 0 empty.
const PAWN: i32 = 1;
const KNIGHT: i32 = 2;
const BISHOP: i32 = 3;
const ROOK: i32 = 4;
const QUEEN: i32 = 5;
const KING: i32 = 6;
const BLACK: i32 = 8;

// Move: from | to << 8 | promotion << 16 | flag << 20
const EN_PASSANT: i32 = 1;
const CASTLE: i32 = 2;
const DOUBLE: i32 = 3;

const START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1";
const KIWIPETE = "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1";

const KNIGHT_STEPS: StaticArray<i32> = [33, 31, 18, 14, -33, -31, -18, -14];
const KING_STEPS: StaticArray<i32> = [16, -16, 1, -1, 17, 15, -17, -15]; // the first 4 are straight, the rest diagonal

const DEPTH_MAX: i32 = 12;
const MOVES_MAX: i32 = 256;

const board = new StaticArray<i32>(128);
const kings = new StaticArray<i32>(2); // square of the white and black king
const moves = new StaticArray<i32>(DEPTH_MAX * MOVES_MAX);
let moveCount: i32 = 0;
let side: i32 = 0; // 0 white, 8 black
let castling: i32 = 0; // 1 K, 2 Q, 4 k, 8 q
let passant: i32 = -1; // the square behind a pawn that just moved two

function attacked(square: i32, by: i32): bool {
  const pawnStep = by == 0 ? -16 : 16; // from the square back to the pawn
  for (let d = -1; d <= 1; d += 2) {
    const from = square + pawnStep + d;
    if ((from & 0x88) == 0 && unchecked(board[from]) == (PAWN | by)) return true;
  }
  for (let i = 0; i < 8; i++) {
    const from = square + unchecked(KNIGHT_STEPS[i]);
    if ((from & 0x88) == 0 && unchecked(board[from]) == (KNIGHT | by)) return true;
  }
  for (let i = 0; i < 8; i++) {
    const step = unchecked(KING_STEPS[i]);
    const slider = i < 4 ? ROOK : BISHOP;
    let from = square + step;
    if ((from & 0x88) == 0 && unchecked(board[from]) == (KING | by)) return true;
    while ((from & 0x88) == 0) {
      const piece = unchecked(board[from]);
      if (piece != 0) {
        if (piece == (slider | by) || piece == (QUEEN | by)) return true;
        break;
      }
      from += step;
    }
  }
  return false;
}

// @ts-ignore: decorator
@inline
function add(base: i32, from: i32, to: i32, promotion: i32, flag: i32): void {
  unchecked((moves[base + moveCount++] = from | (to << 8) | (promotion << 16) | (flag << 20)));
}

function addPawn(base: i32, from: i32, to: i32): void {
  const rank = to >> 4;
  if (rank != 0 && rank != 7) {
    add(base, from, to, 0, 0);
    return;
  }
  for (let piece = QUEEN; piece >= KNIGHT; piece--) add(base, from, to, piece, 0);
}

function pawnMoves(base: i32, from: i32): void {
  const step = side == 0 ? 16 : -16;
  const to = from + step;
  if (unchecked(board[to]) == 0) {
    addPawn(base, from, to);
    const home = side == 0 ? 1 : 6;
    if (from >> 4 == home && unchecked(board[to + step]) == 0) add(base, from, to + step, 0, DOUBLE);
  }
  for (let d = -1; d <= 1; d += 2) {
    const target = to + d;
    if ((target & 0x88) != 0) continue;
    const piece = unchecked(board[target]);
    if (piece != 0 && (piece & BLACK) != side) addPawn(base, from, target);
    else if (target == passant) add(base, from, target, 0, EN_PASSANT);
  }
}

function stepMoves(base: i32, from: i32, steps: StaticArray<i32>, first: i32, last: i32, slide: bool): void {
  for (let i = first; i < last; i++) {
    const step = unchecked(steps[i]);
    let to = from + step;
    while ((to & 0x88) == 0) {
      const piece = unchecked(board[to]);
      if (piece == 0) add(base, from, to, 0, 0);
      else {
        if ((piece & BLACK) != side) add(base, from, to, 0, 0);
        break;
      }
      if (!slide) break;
      to += step;
    }
  }
}

function castleMoves(base: i32, from: i32): void {
  const enemy = side ^ BLACK;
  const shift = side == 0 ? 0 : 2;
  if (((castling >> shift) & 3) == 0 || attacked(from, enemy)) return;
  if (((castling >> shift) & 1) != 0 && board[from + 1] == 0 && board[from + 2] == 0 && !attacked(from + 1, enemy)) {
    add(base, from, from + 2, 0, CASTLE);
  }
  if (((castling >> shift) & 2) != 0 && board[from - 1] == 0 && board[from - 2] == 0 && board[from - 3] == 0
    && !attacked(from - 1, enemy)) {
    add(base, from, from - 2, 0, CASTLE);
  }
}

/** Pseudo-legal moves into moves[base ..]; gives their number. */
function generate(base: i32): i32 {
  moveCount = 0;
  for (let from = 0; from < 128; from++) {
    if ((from & 0x88) != 0) continue;
    const piece = unchecked(board[from]);
    if (piece == 0 || (piece & BLACK) != side) continue;
    switch (piece & 7) {
      case PAWN: pawnMoves(base, from); break;
      case KNIGHT: stepMoves(base, from, KNIGHT_STEPS, 0, 8, false); break;
      case BISHOP: stepMoves(base, from, KING_STEPS, 4, 8, true); break;
      case ROOK: stepMoves(base, from, KING_STEPS, 0, 4, true); break;
      case QUEEN: stepMoves(base, from, KING_STEPS, 0, 8, true); break;
      default:
        stepMoves(base, from, KING_STEPS, 0, 8, false);
        castleMoves(base, from);
    }
  }
  return moveCount;
}

/** Castling rights that remain when something moves from or to a square. */
function rightsKept(square: i32): i32 {
  switch (square) {
    case 0x00: return ~2;
    case 0x04: return ~3;
    case 0x07: return ~1;
    case 0x70: return ~8;
    case 0x74: return ~12;
    case 0x77: return ~4;
    default: return ~0;
  }
}

function moveRook(kingTo: i32, back: bool): void {
  const right = (kingTo & 7) == 6;
  const corner = right ? kingTo + 1 : kingTo - 2;
  const inner = right ? kingTo - 1 : kingTo + 1;
  const source = back ? inner : corner;
  const target = back ? corner : inner;
  board[target] = board[source];
  board[source] = 0;
}

/** Leaves below this position. */
function perft(depth: i32, ply: i32): u64 {
  if (depth == 0) return 1;
  const base = ply * MOVES_MAX;
  const count = generate(base);
  const oldCastling = castling;
  const oldPassant = passant;
  const us = side;
  let total: u64 = 0;
  for (let i = 0; i < count; i++) {
    const move = unchecked(moves[base + i]);
    const from = move & 0xff, to = (move >> 8) & 0xff, promotion = (move >> 16) & 15, flag = move >> 20;
    const piece = unchecked(board[from]);
    const behind = to + (us == 0 ? -16 : 16);
    const captured = flag == EN_PASSANT ? unchecked(board[behind]) : unchecked(board[to]);
    // make
    board[from] = 0;
    board[to] = promotion != 0 ? promotion | us : piece;
    if (flag == EN_PASSANT) board[behind] = 0;
    else if (flag == CASTLE) moveRook(to, false);
    if ((piece & 7) == KING) kings[us >> 3] = to;
    castling = oldCastling & rightsKept(from) & rightsKept(to);
    passant = flag == DOUBLE ? behind : -1;
    side = us ^ BLACK;
    if (!attacked(kings[us >> 3], side)) {
      const below = perft(depth - 1, ply + 1);
      if (ply == 0) println(squareName(from) + squareName(to) + promotionName(promotion) + ": " + below.toString());
      total += below;
    }
    // unmake
    side = us;
    castling = oldCastling;
    passant = oldPassant;
    board[from] = piece;
    if (flag == EN_PASSANT) {
      board[to] = 0;
      board[behind] = captured;
    } else board[to] = captured;
    if (flag == CASTLE) moveRook(to, true);
    if ((piece & 7) == KING) kings[us >> 3] = from;
  }
  return total;
}

function squareName(square: i32): string {
  return String.fromCharCode(97 + (square & 7)) + String.fromCharCode(49 + (square >> 4));
}

function promotionName(piece: i32): string {
  return piece == 0 ? "" : "nbrq".charAt(piece - KNIGHT);
}

function setUp(fen: string): bool {
  const parts = fen.split(" ");
  if (parts.length < 4) return false;
  let rank = 7, file = 0;
  kings[0] = kings[1] = -1;
  for (let i = 0; i < parts[0].length; i++) {
    const c = parts[0].charAt(i);
    const digit = c.charCodeAt(0) - 48;
    if (c == "/") {
      rank--;
      file = 0;
    } else if (digit >= 1 && digit <= 8) file += digit;
    else {
      const piece = "pnbrqk".indexOf(c.toLowerCase()) + 1;
      if (piece == 0 || file > 7 || rank < 0) return false;
      const colour = c == c.toLowerCase() ? BLACK : 0;
      board[rank * 16 + file] = piece | colour;
      if (piece == KING) kings[colour >> 3] = rank * 16 + file;
      file++;
    }
  }
  side = parts[1] == "b" ? BLACK : 0;
  castling = 0;
  for (let i = 0; i < 4; i++) if (parts[2].includes("KQkq".charAt(i))) castling |= 1 << i;
  passant = parts[3] == "-" ? -1 : (parts[3].charCodeAt(1) - 49) * 16 + parts[3].charCodeAt(0) - 97;
  return kings[0] >= 0 && kings[1] >= 0;
}

function main(): void {
  const given = args();
  const wanted = given.length > 0 ? parseInt(given[0]) : 5;
  if (!(wanted >= 1 && wanted <= (DEPTH_MAX as f64))) fail("usage: perft [depth [start|kiwipete|FEN]], depth 1..12", 2);
  let fen = given.length > 1 ? given.slice(1).join(" ") : "start";
  if (fen == "start") fen = START;
  else if (fen == "kiwipete") fen = KIWIPETE;
  if (!setUp(fen)) fail("perft: not a position: " + fen, 2);
  const depth = wanted as i32;
  println("perft " + depth.toString() + ": " + perft(depth, 0).toString());
}

main();
