(module $sherd-k-0-0
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32) (result f64)))
  (type (;2;) (func (param i32 i32)))
  (type (;3;) (func (param i32)))
  (type (;4;) (func (param f64)))
  (type (;5;) (func (param f64 i32)))
  (type (;6;) (func (param i32) (result f64 i32)))
  (import "store" "load_i32" (func (;0;) (type 0)))
  (import "store" "load_f64" (func (;1;) (type 1)))
  (import "store" "frame" (func (;2;) (type 2)))
  (import "store" "spill_i32" (func (;3;) (type 3)))
  (import "store" "spill_f64" (func (;4;) (type 4)))
  (import "store" "set_f64" (func (;5;) (type 5)))
  (func (;6;) (type 6) (param i32) (result f64 i32)
    (local i32 i32 i32 f64 i32)
    block (result i32)  ;; label = @1
      block  ;; label = @2
        block  ;; label = @3
          i32.const 0
          call 0
          local.set 1
          i32.const 8
          call 0
          local.set 2
          i32.const 24
          call 1
          local.set 4
          local.get 0
          i32.const 1
          i32.add
          local.set 0
          loop  ;; label = @4
            local.get 0
            i32.const 1
            i32.sub
            local.tee 0
            i32.const 0
            i32.lt_s
            br_if 1 (;@3;)
            i32.const 0
            local.set 3
            loop  ;; label = @5
              local.get 0
              i32.const 1
              i32.sub
              local.tee 0
              i32.const 0
              i32.lt_s
              br_if 3 (;@2;)
              local.get 0
              local.get 1
              local.get 3
              i32.sub
              i32.const 1
              i32.sub
              i32.const 0
              local.get 3
              local.get 1
              i32.lt_s
              select
              local.tee 5
              local.get 0
              local.get 5
              local.get 0
              i32.lt_u
              select
              local.tee 5
              i32.sub
              local.set 0
              local.get 5
              local.get 3
              i32.add
              i32.const 1
              i32.add
              local.set 5
              loop  ;; label = @6
                local.get 4
                local.get 3
                f64.convert_i32_s
                f64.add
                local.set 4
                local.get 3
                i32.const 1
                i32.add
                local.tee 3
                local.get 5
                i32.ne
                br_if 0 (;@6;)
              end
              local.get 3
              local.get 1
              i32.lt_s
              br_if 0 (;@5;)
            end
            local.get 2
            i32.const 1
            i32.add
            local.tee 2
            local.get 1
            i32.lt_s
            br_if 0 (;@4;)
          end
          local.get 4
          local.get 0
          return
        end
        i32.const 0
        br 1 (;@1;)
      end
      i32.const 1
    end
    i32.const 0
    call 2
    local.get 1
    call 3
    local.get 2
    call 3
    local.get 3
    call 3
    local.get 4
    call 4
    f64.const 0x0p+0 (;=0;)
    i32.const -1)
  (func (;7;) (type 0) (param i32) (result i32)
    local.get 0
    call 6
    local.set 0
    i32.const 0
    call 5
    local.get 0)
  (export "k" (func 7)))
