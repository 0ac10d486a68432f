//! Plain loops compiled for the instruction set of the machine at run time.

pub(crate) mod math;
pub(crate) mod prefetch;

/// Defines a function whose body is compiled for AVX-512, AVX2 and the baseline, and runs in the best form there is.
///
/// `pulp` offers this for closures too, but the compiler may leave a closure's body out of line, where it has only the
/// baseline's instructions and `mul_add` becomes a library call. A job of its own with `inline(always)` cannot be left.
/// The body must call nothing of weight that is not `inline(always)`.
macro_rules! vectorized {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$life:lifetime>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)] // kernels: operands, sizes and results
        $vis fn $name<$life>($($arg: $ty),*) $(-> $ret)? {
            struct Job<$life> {
                $($arg: $ty),*
            }
            impl<$life> $crate::engine::simd::Run for Job<$life> {
                type Out = $crate::engine::simd::output!($($ret)?);
                #[inline(always)]
                fn run(self) -> Self::Out {
                    let Job { $($arg),* } = self;
                    $body
                }
            }
            $crate::engine::simd::dispatch(Job { $($arg),* })
        }
    };
}

/// The return type of a [`vectorized`] function.
macro_rules! output {
    () => {
        ()
    };
    ($ret:ty) => {
        $ret
    };
}

pub(crate) use {output, vectorized};

/// A job whose body is inlined into each instruction set's version of [`dispatch`].
pub(crate) trait Run {
    type Out;
    fn run(self) -> Self::Out;
}

/// Runs the job with the best instruction set there is.
pub(crate) fn dispatch<R: Run>(job: R) -> R::Out {
    struct Op<R>(R);
    impl<R: Run> pulp::WithSimd for Op<R> {
        type Output = R::Out;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R::Out {
            self.0.run()
        }
    }
    pulp::Arch::new().dispatch(Op(job))
}
