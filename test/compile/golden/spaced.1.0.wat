(module $sherd-k-1-0
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32) (result i32 i32)))
  (type (;2;) (func (param i32 i32)))
  (type (;3;) (func (param i32)))
  (type (;4;) (func (param i32) (result i32 i32)))
  (import "store" "load_i32" (func (;0;) (type 0)))
  (import "function" "0" (func (;1;) (type 1)))
  (import "store" "frame" (func (;2;) (type 2)))
  (import "store" "spill_i32" (func (;3;) (type 3)))
  (import "store" "set_i32" (func (;4;) (type 2)))
  (import "export" "$m" (memory (;0;) 1))
  (func (;5;) (type 4) (param i32) (result i32 i32)
    (local i32 i32 i32)
    block (result i32)  ;; label = @1
      block  ;; label = @2
        block  ;; label = @3
          i32.const 0
          call 0
          local.set 2
          i32.const 8
          call 0
          local.set 3
          local.get 0
          i32.const 1
          i32.add
          local.set 0
          local.get 2
          i32.const 5
          local.get 3
          local.get 0
          i32.const 1
          i32.sub
          local.tee 0
          i32.const 0
          i32.lt_s
          br_if 0 (;@3;)
          local.get 0
          call 1
          local.tee 0
          i32.const 0
          i32.lt_s
          br_if 1 (;@2;)
          i32.add
          i32.add
          local.get 0
          return
        end
        i32.const 0
        br 1 (;@1;)
      end
      i32.const 1
    end
    i32.const 1
    call 2
    local.get 2
    call 3
    local.get 3
    call 3
    i32.const 0
    i32.const -1)
  (func (;6;) (type 0) (param i32) (result i32)
    local.get 0
    call 5
    local.set 0
    i32.const 0
    call 4
    local.get 0)
  (export "k" (func 6)))
