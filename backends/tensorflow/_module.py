"""`InfoNCE` as a Keras layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

import keras
import tensorflow as tf

from infonce import checks, info_nce
from infonce.module import checked_options, described, keywords
from infonce.typing import LossArrays, LossOptions, NegativeMode, Reduction


@keras.saving.register_keras_serializable("infonce")
class InfoNCE(keras.layers.Layer):  # type: ignore[misc]
    """The options of `info_nce` as a Keras layer, called `(query, positive_key, negative_keys=None)`.

    What belongs to one batch is given in the call: `ids`, `negative_ids`, `mask`, `weight` and `bias`, by keyword.

    A layer and not a `keras.losses.Loss`, which would not train its variable and would cast float64 away. It needs
    Keras on its TensorFlow backend.

    Args:
        temperature: t, dimensionless, > 0, a number.
        reduction: As in `info_nce`.
        negative_mode: As in `info_nce`.
        learnable_temperature: True makes log(t) the trainable weight `log_temperature`, a 0-d float32 variable: t then
            stays positive under any optimiser.
        name: The layer's name, as in any Keras layer.
        trainable: As in any Keras layer.
        dtype: As in any Keras layer; the loss's own dtype is that of its arrays.
        **options: The keyword-only options of `info_nce` that are no arrays, without `return_metrics`.

    Raises:
        ValueError: A choice or the temperature is wrong.
        TypeError: An option is of the wrong type or unknown.
        RuntimeError: Keras runs on another backend.

    Example:
        >>> import tensorflow as tf
        >>> from infonce.tensorflow import InfoNCE
        >>> loss = InfoNCE(temperature=1.0, learnable_temperature=True)
        >>> round(float(loss(tf.eye(2), tf.eye(2))), 4)  # log(1 + e^-1)
        0.3133
        >>> [weight.name for weight in loss.trainable_weights]
        ['log_temperature']
    """

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        *,
        learnable_temperature: bool = False,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        **options: Unpack[LossOptions],
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "infonce.tensorflow.InfoNCE needs Keras on its TensorFlow backend; it runs on "
                f"{keras.backend.backend()}. Set KERAS_BACKEND=tensorflow before keras is imported."
            )
        super().__init__(name=name, trainable=trainable, dtype=dtype, autocast=False)
        self.loss_options = checked_options(reduction, negative_mode, options)
        number = checks.temperature_number(temperature, "float32")
        checks.flag("learnable_temperature", learnable_temperature)
        self._number = None if learnable_temperature else number
        if learnable_temperature:
            self.log_temperature = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(math.log(number)),
                dtype="float32",
                name="log_temperature",
            )
        self.built = True

    @property
    def temperature(self) -> Any:
        """t: a number, or exp(log_temperature)."""
        return tf.exp(tf.convert_to_tensor(self.log_temperature)) if self._number is None else self._number

    if TYPE_CHECKING:

        def __call__(
            self,
            query: tf.Tensor,
            positive_key: tf.Tensor,
            negative_keys: tf.Tensor | None = None,
            **arrays: Unpack[LossArrays[tf.Tensor]],
        ) -> tf.Tensor: ...

    def call(
        self,
        query: tf.Tensor,
        positive_key: tf.Tensor,
        negative_keys: tf.Tensor | None = None,
        **arrays: Unpack[LossArrays[tf.Tensor]],
    ) -> tf.Tensor:
        loss: tf.Tensor = info_nce(query, positive_key, negative_keys, **keywords(self, arrays))
        return loss

    def compute_mask(self, *_: Any) -> None:
        """Nothing to pass on: `mask` says which candidates count. Without this Keras warns that it gets lost."""

    def compute_output_shape(self, query: Any, *_: Any) -> tuple[Any, ...]:
        return tuple(query[:1]) if self.loss_options["reduction"] == "none" else ()

    def get_config(self) -> dict[str, Any]:
        learnable = self._number is None
        config: dict[str, Any] = super().get_config()
        return {
            **config,
            "temperature": self._as_number(),
            "learnable_temperature": learnable,
            **self.loss_options,
        }

    def _as_number(self) -> float:
        return math.exp(float(self.log_temperature)) if self._number is None else self._number

    def __repr__(self) -> str:
        learnable = ", learnable_temperature=True" if self._number is None else ""
        return f"InfoNCE({described(self._as_number(), self.loss_options)}{learnable})"
